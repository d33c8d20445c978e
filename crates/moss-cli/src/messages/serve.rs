//! Messages of `serve` at startup.

use moss_messages::{Text, msg};

use crate::addresses::Url;

/// Returns the line for an address.
pub(crate) fn listening(Url { url, interface }: &Url) -> Text {
    match interface {
        None => msg!("listening", url),
        Some(interface) => msg!("listening-on-interface", url, interface),
    }
}

/// Returns the line about API keys. `beyond` is true if other machines can connect.
pub(crate) fn key_state(has_keys: bool, beyond: bool) -> Text {
    match (has_keys, beyond) {
        (true, _) => msg!("key-required"),
        (false, false) => msg!("no-key"),
        (false, true) => msg!("no-key-beyond"),
    }
}
