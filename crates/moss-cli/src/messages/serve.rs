//! What `serve` says when it starts.

use moss_messages::{Text, msg};

use crate::addresses::Url;

/// Returns the line of an address.
pub(crate) fn listening(Url { url, interface }: &Url) -> Text {
    match interface {
        None => msg!("listening", url),
        Some(interface) => msg!("listening-on-interface", url, interface),
    }
}

/// Returns whether a key is needed; `beyond`: other machines can connect.
pub(crate) fn key_state(has_keys: bool, beyond: bool) -> Text {
    match (has_keys, beyond) {
        (true, _) => msg!("key-required"),
        (false, false) => msg!("no-key"),
        (false, true) => msg!("no-key-beyond"),
    }
}
