//! Messages of the placement.

use moss::model::placement::{LeftOut, Note};
use moss_messages::{Text, msg};

/// Returns the text of a note; `devices` are the names of all devices.
pub(crate) fn placement_note(note: &Note, devices: &[String]) -> Text {
    match note {
        Note::LeftOut { device: index, why } => {
            let device = devices.get(*index).map_or("", String::as_str);
            let why = match why {
                LeftOut::NotNeeded => msg!("note-not-needed"),
                LeftOut::TooSmall => msg!("note-too-small"),
                LeftOut::NoLayersLeft => msg!("note-no-layers-left"),
                LeftOut::NoFaster => msg!("note-no-faster"),
            };
            msg!("note-left-out", device, why)
        }
        Note::EmbeddingOnHost => msg!("note-embedding-on-host"),
        Note::OnCpu {
            layers,
            seconds,
            of_seconds,
        } => msg!(
            "note-on-cpu",
            layers,
            ms = seconds * 1e3,
            of_ms = of_seconds * 1e3,
        ),
    }
}
