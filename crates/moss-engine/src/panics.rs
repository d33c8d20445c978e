//! Panics as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code` and returns the message of its panic as an error.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown".into())
    })
}
