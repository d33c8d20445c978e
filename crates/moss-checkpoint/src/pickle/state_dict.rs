//! The tensors of a pickled state dict.

use std::collections::HashSet;

use super::{
    PickleError, PickleExpected,
    machine::Machine,
    values::{TensorView, Value, Values},
};
use crate::DType;

/// A tensor as the pickle describes it. Texts are borrowed, because a hostile file may use one long
/// string a million times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PickledTensor<'a> {
    pub(crate) name: &'a str,
    /// Name of the zip entry that holds the bytes.
    pub(crate) storage_key: &'a str,
    pub(crate) dtype: DType,
    /// First element in the storage.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<u64>,
}

/// Returns the tensors of a state dict, in its order. Other entries are skipped. A tensor anywhere
/// else (in a nested dict or a list, or under a key that is not a string) is an error, because the
/// network would miss it.
pub(crate) fn read_state_dict(bytes: &[u8]) -> Result<Vec<PickledTensor<'_>>, PickleError> {
    let mut machine = Machine::new(bytes);
    let Value::Dict(root) = machine.run()? else {
        return Err(machine.expected(PickleExpected::StateDict));
    };
    let values = &machine.values;
    let (mut found, mut names) = (Vec::new(), HashSet::new());
    let mut is_reached = vec![false; values.tensors.len()];
    for (name, value) in &values.dicts[root] {
        let (Value::Text(name), Value::Tensor(tensor)) = (name, value) else {
            continue;
        };
        let name = values.texts[*name];
        if !names.insert(name) {
            return Err(machine.expected(PickleExpected::DistinctNames));
        }
        is_reached[*tensor] = true;
        found.push(named(values, name, &values.tensors[*tensor])?);
    }
    if let Some(first) = is_reached.iter().position(|is_reached| !is_reached) {
        let storage = &values.storages[values.tensors[first].storage];
        return Err(PickleError::Unreached {
            count: is_reached.iter().filter(|is_reached| !**is_reached).count(),
            record: format!("data/{}", values.texts[storage.key]),
        });
    }
    Ok(found)
}

/// Returns a tensor under its name. A tensor with hooks or metadata is an error.
fn named<'a>(
    values: &Values<'a>,
    name: &'a str,
    tensor: &TensorView,
) -> Result<PickledTensor<'a>, PickleError> {
    let is_filled = |dict: usize| !values.dicts[dict].is_empty();
    if let Some((_, what)) = tensor.attached.iter().find(|(dict, _)| is_filled(*dict)) {
        return Err(PickleError::Attached {
            name: name.to_owned(),
            what: *what,
        });
    }
    let storage = &values.storages[tensor.storage];
    Ok(PickledTensor {
        name,
        storage_key: values.texts[storage.key],
        dtype: storage.dtype,
        offset: tensor.offset,
        shape: tensor.shape.clone(),
        strides: tensor.strides.clone(),
    })
}
