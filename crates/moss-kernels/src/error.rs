//! What an op refuses: which argument, what was found, what the rule is.

use candle_core::DType;

/// Errors of planning or running an op.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An argument outside the op's contract.
    #[error("{op}: `{arg}` is {found}, expected {rule}")]
    Argument {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The value it has.
        found: usize,
        /// What it has to be.
        rule: String,
    },
    /// A tensor of another shape than the op takes.
    #[error("{op}: `{arg}` has shape {found:?}, expected {expected}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// A tensor of a type that the op does not take.
    #[error("{op}: `{arg}` is {found:?}, expected f32, f16 or bf16")]
    Dtype {
        /// The op.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Its type.
        found: DType,
    },
    /// The op has no kernel for the device in this build.
    #[error("{op}: this build has kernels for the CPU alone")]
    NotCompiled {
        /// The op.
        op: &'static str,
    },
    /// candle refused a tensor operation.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
