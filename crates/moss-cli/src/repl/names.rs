//! The names of commands.

/// Every command, for completion and to recognize mistyped commands.
pub(crate) const NAMES: [&str; 13] = [
    "clear", "stop", "/help", "/regen", "/undo", "/system", "/params", "/save", "/load", "/stats",
    "/multi", "/results", "/quit",
];
