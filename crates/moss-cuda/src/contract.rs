//! Checks of arguments, and errors of the driver.

use cudarc::driver::DriverError;

use moss_weights::{DriverCall, KernelError, Rule};

/// Adds the attempted operation to an error of the driver.
pub(crate) trait During<T> {
    fn during(self, what: DriverCall) -> Result<T, KernelError>;
}

impl<T> During<T> for Result<T, DriverError> {
    fn during(self, what: DriverCall) -> Result<T, KernelError> {
        self.map_err(|error| of_driver(error, what))
    }
}

fn of_driver(error: DriverError, what: DriverCall) -> KernelError {
    let message = match (error.error_name(), error.error_string()) {
        (Ok(name), Ok(text)) => format!("{} ({})", text.to_string_lossy(), name.to_string_lossy()),
        _ => format!("{error:?}"),
    };
    KernelError::Driver {
        what,
        code: error.0 as u32,
        message,
    }
}

/// Returns an error if a value violates the contract of an op.
pub(crate) fn rule(
    op: &'static str,
    arg: &'static str,
    found: usize,
    ok: bool,
    rule: Rule,
) -> Result<(), KernelError> {
    if ok {
        return Ok(());
    }
    Err(KernelError::Argument {
        op,
        arg,
        found,
        rule,
    })
}

/// Returns an error for sizes of heads that the kernels do not support: the rotary embedding takes
/// pairs of values, and shards contain whole heads.
pub(crate) fn check_heads(
    op: &'static str,
    num_heads: usize,
    head_dim: usize,
    shards: usize,
) -> Result<(), KernelError> {
    let is_even = head_dim > 0 && head_dim.is_multiple_of(2);
    rule(op, "head_dim", head_dim, is_even, Rule::Even)?;
    let divides = shards > 0 && num_heads.is_multiple_of(shards);
    rule(op, "shards", shards, divides, Rule::DivisorOfHeads)
}

/// Converts a count to the type that kernels take.
pub(crate) fn count(op: &'static str, arg: &'static str, n: usize) -> Result<u32, KernelError> {
    u32::try_from(n).map_err(|_| KernelError::Argument {
        op,
        arg,
        found: n,
        rule: Rule::Below(1 << 32),
    })
}

/// Returns the bytes of `len` values.
///
/// # Errors
/// [`KernelError::Argument`] if they exceed the address space.
pub(crate) fn bytes_of<T>(op: &'static str, len: usize) -> Result<usize, KernelError> {
    let bytes = len.checked_mul(size_of::<T>());
    bytes
        .filter(|bytes| isize::try_from(*bytes).is_ok())
        .ok_or(KernelError::Argument {
            op,
            arg: "len",
            found: len,
            rule: Rule::Addressable,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_exceed_the_address_space_are_errors() {
        assert_eq!(bytes_of::<u32>("x", 3).ok(), Some(12));
        for len in [(1 << 62) + 1, usize::MAX, 1 << 61] {
            assert!(matches!(
                bytes_of::<u32>("x", len),
                Err(KernelError::Argument { arg: "len", .. })
            ));
        }
    }
}
