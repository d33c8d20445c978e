//! Objects that a pickle constructs: calls to the listed names, and storages. The result is
//! described, and no code of the file or of Python runs.

use super::{
    Attachment, PickleError, PickleExpected, PickleLimit,
    globals::Global,
    values::{Storage, TensorView, Value, Values},
};

/// The most arguments of a call; `_rebuild_tensor_v2` has seven.
pub(super) const MAX_ARGS: usize = 8;

const MAX_AXES: usize = 16;

/// Constructs objects for the instruction that ends at `at`.
pub(super) struct Constructor<'m, 'a> {
    pub(super) values: &'m mut Values<'a>,
    pub(super) at: usize,
}

impl Constructor<'_, '_> {
    /// Describes the result of a call to a listed name.
    pub(super) fn call(&mut self, function: Value, args: &[Value]) -> Result<Value, PickleError> {
        match (function, args) {
            (Value::Global(Global::OrderedDict), []) => Ok(self.values.dict()),
            (Value::Global(Global::RebuildTensor), args) => self.tensor(args),
            (
                Value::Global(Global::RebuildParameter),
                &[Value::Tensor(tensor), _requires_grad, hooks],
            ) => {
                let attached = self.attached(&[(hooks, Attachment::BackwardHooks)])?;
                self.values.tensors[tensor].attached.extend(attached);
                Ok(Value::Tensor(tensor))
            }
            _ => Err(self.expected(PickleExpected::Constructor)),
        }
    }

    /// Describes the tensor of `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad,
    /// hooks, [metadata])`.
    fn tensor(&mut self, args: &[Value]) -> Result<Value, PickleError> {
        let &[
            Value::Storage(storage),
            Value::Int(offset),
            Value::Sequence(shape),
            Value::Sequence(strides),
            _requires_grad,
            ref rest @ ..,
        ] = args
        else {
            return Err(self.expected(PickleExpected::Constructor));
        };
        // Metadata marks a tensor whose elements are to be negated or conjugated.
        let attached = match *rest {
            [hooks] => self.attached(&[(hooks, Attachment::BackwardHooks)]),
            [hooks, metadata] => self.attached(&[
                (hooks, Attachment::BackwardHooks),
                (metadata, Attachment::Metadata),
            ]),
            _ => Err(self.expected(PickleExpected::TensorArguments)),
        }?;
        let offset = u64::try_from(offset).map_err(|_| self.expected(PickleExpected::Offset))?;
        let (shape, strides) = (self.extents(shape)?, self.extents(strides)?);
        if shape.len() != strides.len() {
            return Err(self.expected(PickleExpected::Strides));
        }
        let shape = shape
            .into_iter()
            .map(usize::try_from)
            .collect::<Result<_, _>>()
            .map_err(|_| self.expected(PickleExpected::Extents))?;
        Ok(self.values.tensor(TensorView {
            storage,
            offset,
            shape,
            strides,
            attached,
        }))
    }

    /// Describes the storage of a persistent id `('storage', type, key, location, elements)`, the
    /// only kind that `torch.save` writes.
    pub(super) fn storage(&mut self, id: Value) -> Result<Value, PickleError> {
        let Value::Sequence(id) = id else {
            return Err(self.expected(PickleExpected::Storage));
        };
        match self.values.sequences[id].as_slice() {
            &[
                Value::Text(kind),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                Value::Text(_location),
                Value::Int(_elements),
            ] if self.values.texts[kind] == "storage" => {
                Ok(self.values.storage(Storage { key, dtype }))
            }
            _ => Err(self.expected(PickleExpected::Storage)),
        }
    }

    /// Returns the dicts among the attachments of a tensor. None is an empty one.
    fn attached(
        &self,
        values: &[(Value, Attachment)],
    ) -> Result<Vec<(usize, Attachment)>, PickleError> {
        let dict = |&(value, what): &(Value, Attachment)| match value {
            Value::None => Ok(None),
            Value::Dict(dict) => Ok(Some((dict, what))),
            _ => Err(self.expected(PickleExpected::Attachment)),
        };
        values
            .iter()
            .filter_map(|value| dict(value).transpose())
            .collect()
    }

    fn extents(&self, sequence: usize) -> Result<Vec<u64>, PickleError> {
        let extent = |value: &Value| match value {
            Value::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        let sequence = &self.values.sequences[sequence];
        if sequence.len() > MAX_AXES {
            return Err(PickleError::Limit {
                what: PickleLimit::Axes,
                at: self.at,
            });
        }
        let extents = sequence.iter().map(extent).collect::<Option<_>>();
        extents.ok_or_else(|| self.expected(PickleExpected::Extents))
    }

    fn expected(&self, expected: PickleExpected) -> PickleError {
        PickleError::Value {
            expected,
            at: self.at,
        }
    }
}
