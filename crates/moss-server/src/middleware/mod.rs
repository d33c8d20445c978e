//! Logging, CORS, host and key checks before the routes.

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod trace_parent;
