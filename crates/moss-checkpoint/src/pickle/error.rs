//! Errors of reading a pickle, with the offset of the instruction.

use moss_messages::Message;

/// The operand that an instruction of a pickle needs.
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

/// A quantity that is limited.
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

/// Data of a tensor other than its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum Attachment {
    /// Hooks of the backward pass.
    BackwardHooks,
    /// Flags that its elements are negated or conjugated.
    Metadata,
}

/// A reason why a pickle is not a plain state dict.
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
    /// A name that is not in the allow-list.
    Global {
        /// Module and name.
        name: String,
        /// Offset in the pickle.
        at: usize,
    },
    /// A value of another kind than the instruction needs.
    Value {
        /// The value that the instruction needs.
        expected: PickleExpected,
        /// Offset in the pickle.
        at: usize,
    },
    /// A quantity above its limit, which no state dict reaches.
    Limit {
        /// The quantity.
        what: PickleLimit,
        /// Offset in the pickle.
        at: usize,
    },
    /// A tensor that has data other than its elements.
    Attached {
        /// The tensor.
        name: String,
        /// The data.
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
