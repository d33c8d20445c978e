//! Why a pickle is not a plain state dict: which opcode or name, and where.

mod zh;

/// Why a pickle is not a plain state dict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end within an instruction, or before STOP.
    #[error("it ends at byte {at}, in the middle of an instruction")]
    Truncated {
        /// Offset in the pickle.
        at: usize,
    },
    /// An opcode that no state dict needs.
    #[error("opcode {opcode:#04x} at byte {at} is not one that a state dict needs")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Offset in the pickle.
        at: usize,
    },
    /// A name that is not on the list.
    #[error(
        "it names `{name}` at byte {at}, which is not on the list of what a state dict may name"
    )]
    Global {
        /// Module and name.
        name: String,
        /// Offset in the pickle.
        at: usize,
    },
    /// A value of another kind than the instruction needs.
    #[error("at byte {at}: expected {expected}")]
    Value {
        /// What the instruction needs.
        expected: &'static str,
        /// Offset in the pickle.
        at: usize,
    },
    /// Larger than any state dict.
    #[error("at byte {at}: more {what} than any state dict has")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// Offset in the pickle.
        at: usize,
    },
    /// A tensor that comes with more than its elements.
    #[error("tensor `{name}` has {what}, expected none")]
    Attached {
        /// The tensor.
        name: String,
        /// "backward hooks" or "tensor metadata".
        what: &'static str,
    },
    /// Tensors that are not values of string keys of the outermost dict.
    #[error(
        "{count} tensor(s) are not values of string keys of the outermost dict, the first with its elements in `{record}`"
    )]
    Unreached {
        /// Number of such tensors.
        count: usize,
        /// The zip record that holds the elements of the first one.
        record: String,
    },
}
