//! Who may come in, and what is written down about it.

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod log;
