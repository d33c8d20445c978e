//! The messages of the command line: the catalogue in `locales`, and functions that choose one of
//! several messages.

mod chat;
mod download;
mod ending;
mod language;
mod placement;
mod serve;
mod units;

use moss_messages::{Arg, Catalogue, Language};

pub(crate) use self::{
    chat::{WELCOME, last_answer},
    download::{download_plan, download_status, retrying},
    ending::{Ending, ending_of_chat, ending_of_generate},
    language::language_of_locale,
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

/// Returns a text of `zh-clap.ftl`, if there is one. Its English is clap's.
pub(crate) fn clap_text(id: &str, args: &[(&'static str, Arg)]) -> Option<String> {
    CATALOGUE.format(Language::Zh, id, None, args)
}

/// Returns what `--help` adds to the text of `-h`.
pub(crate) fn clap_text_long(id: &str) -> Option<String> {
    CATALOGUE.format(Language::Zh, id, Some("long"), &[])
}
