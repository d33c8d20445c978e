//! Tensors to be written, and their division into shards.

use crate::{DType, TensorInfo};

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Name in the checkpoint.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
}

impl Outline {
    /// Returns the number of bytes.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bytes() as u64
    }
}

impl From<&TensorInfo> for Outline {
    fn from(info: &TensorInfo) -> Self {
        Self {
            name: info.name.clone(),
            dtype: info.dtype,
            shape: info.shape.clone(),
        }
    }
}

/// Divides tensors, in order, into shards of at most `max_bytes`. A larger tensor gets a separate
/// shard.
pub fn plan_shards(tensors: Vec<Outline>, max_bytes: u64) -> Vec<Vec<Outline>> {
    let mut shards: Vec<Vec<Outline>> = Vec::new();
    let mut free = 0;
    for tensor in tensors {
        match shards.last_mut() {
            Some(shard) if tensor.bytes() <= free => {
                free -= tensor.bytes();
                shard.push(tensor);
            }
            _ => {
                free = max_bytes.saturating_sub(tensor.bytes());
                shards.push(vec![tensor]);
            }
        }
    }
    shards
}
