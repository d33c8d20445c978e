//! Why a pickle is not a plain state dict: which opcode or name, and where.

use moss_messages::Message;

/// What an instruction of a pickle needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum PickleExpected {
    /// A state dict as the result.
    StateDict,
    /// Tensor names that differ.
    DistinctNames,
    /// Text in UTF-8.
    Utf8,
    /// A value on the stack.
    StackValue,
    /// A mark on the stack.
    Mark,
    /// A string.
    Text,
    /// A list.
    List,
    /// A dict.
    Dict,
    /// A value for every key.
    KeyValuePairs,
    /// A tuple of arguments.
    Arguments,
    /// The six or seven arguments of a tensor.
    TensorArguments,
    /// An offset of 0 or more.
    Offset,
    /// As many strides as axes.
    Strides,
    /// Extents that this machine can address.
    Extents,
    /// The name of a tensor, a parameter or an empty dict.
    Constructor,
    /// A dict of hooks or metadata.
    Attachment,
    /// Attributes of a dict.
    Attributes,
    /// A reference to a storage.
    Storage,
    /// A value in the memo.
    Memo,
}

/// What no state dict has so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum PickleLimit {
    /// Characters in a string.
    StringLength,
    /// Digits in a number.
    Digits,
    /// Values.
    Values,
    /// Axes.
    Axes,
    /// Values in the memo.
    Memo,
}

/// What comes with a tensor besides its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Attachment {
    /// Hooks of the backward pass.
    BackwardHooks,
    /// Marks that its elements are to be negated or conjugated.
    Metadata,
}

/// Why a pickle is not a plain state dict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end within an instruction, or before STOP.
    Truncated {
        /// Offset in the pickle.
        at: usize,
    },
    /// An opcode that no state dict needs.
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Offset in the pickle.
        at: usize,
    },
    /// A name that is not on the list.
    Global {
        /// Module and name.
        name: String,
        /// Offset in the pickle.
        at: usize,
    },
    /// A value of another kind than the instruction needs.
    Value {
        /// What the instruction needs.
        expected: PickleExpected,
        /// Offset in the pickle.
        at: usize,
    },
    /// Larger than any state dict.
    Limit {
        /// What there is too much of.
        what: PickleLimit,
        /// Offset in the pickle.
        at: usize,
    },
    /// A tensor that comes with more than its elements.
    Attached {
        /// The tensor.
        name: String,
        /// What comes with it.
        what: Attachment,
    },
    /// Tensors that are not values of string keys of the outermost dict.
    Unreached {
        /// Number of such tensors.
        count: usize,
        /// The zip record that holds the elements of the first one.
        record: String,
    },
}
