//! The interface of all parameters.

use std::ffi::c_void;

/// The parameters of a kernel.
pub(crate) trait Arguments {
    /// Bytes of each parameter, in the order of the kernel's signature.
    const PARAMETERS: &'static [usize];

    /// Calls `launch` with the addresses of the parameters, which are valid during the call.
    fn with_addresses<R>(&self, launch: impl FnOnce(&mut [*mut c_void]) -> R) -> R;
}
