//! What the command line says: the catalogue in `locales`, and messages that are chosen among
//! several.

mod chat;
mod download;
mod ending;
mod language;
mod placement;
mod serve;
mod units;

use moss_messages::Catalogue;

pub(crate) use self::{
    chat::{WELCOME, last_answer},
    download::{download_plan, download_status, retrying},
    ending::{Ending, ending_of_chat, ending_of_generate},
    language::{language_named, language_of_locale},
    placement::placement_note,
    serve::{key_state, listening},
    units::size,
};

/// The texts of the command line, in English and in Chinese.
pub(crate) static CATALOGUE: Catalogue = Catalogue::new(
    &[include_str!("../locales/en.ftl")],
    &[
        include_str!("../locales/zh.ftl"),
        include_str!("../locales/zh-clap.ftl"),
    ],
);
