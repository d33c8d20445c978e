//! The values that a pickle describes. They are stored in arenas and refer to each other by index,
//! so no nesting, sharing or cycle in a hostile file causes recursion or copies.

use super::{Attachment, globals::Global};
use crate::DType;

/// A value on the stack. Indices refer to the vectors of [`Values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Mark,
    None,
    /// A float or a boolean, which no tensor needs.
    Other,
    Int(i64),
    Text(usize),
    Sequence(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

/// A storage of elements.
pub(super) struct Storage {
    /// Index of a text.
    pub(super) key: usize,
    pub(super) dtype: DType,
}

/// A view of a storage.
pub(super) struct TensorView {
    pub(super) storage: usize,
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<u64>,
    /// Dicts of backward hooks and metadata, which must be empty at the end. They are kept as
    /// indices, because later instructions may add items to them.
    pub(super) attached: Vec<(usize, Attachment)>,
}

/// The arenas.
#[derive(Default)]
pub(super) struct Values<'a> {
    pub(super) texts: Vec<&'a str>,
    pub(super) sequences: Vec<Vec<Value>>,
    pub(super) dicts: Vec<Vec<(Value, Value)>>,
    pub(super) storages: Vec<Storage>,
    pub(super) tensors: Vec<TensorView>,
}

impl<'a> Values<'a> {
    pub(super) fn text(&mut self, text: &'a str) -> Value {
        self.texts.push(text);
        Value::Text(self.texts.len() - 1)
    }

    pub(super) fn sequence(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Sequence(self.sequences.len() - 1)
    }

    pub(super) fn dict(&mut self) -> Value {
        self.dicts.push(vec![]);
        Value::Dict(self.dicts.len() - 1)
    }

    pub(super) fn storage(&mut self, storage: Storage) -> Value {
        self.storages.push(storage);
        Value::Storage(self.storages.len() - 1)
    }

    pub(super) fn tensor(&mut self, tensor: TensorView) -> Value {
        self.tensors.push(tensor);
        Value::Tensor(self.tensors.len() - 1)
    }
}
