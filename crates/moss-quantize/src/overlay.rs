//! A checkpoint some of whose linear layers have been quantised already.

use std::collections::HashMap;

use bytes::Bytes;
use moss_checkpoint::Checkpoint;
use moss_kernels::{DenseWeight, GptqBits, GptqWeight, GroupIndex, LinearWeight};
use moss_model::{LinearParts, ModelError, MossConfig, WeightSource};

use crate::gptq::Packed;

/// The checkpoint, with these layers in place of its own.
pub(crate) struct Overlay<'a> {
    pub(crate) base: &'a Checkpoint,
    pub(crate) bits: GptqBits,
    /// By stem: group size, outputs, tensors.
    pub(crate) made: HashMap<String, (usize, Packed)>,
}

impl WeightSource for Overlay<'_> {
    fn config(&self) -> Result<MossConfig, ModelError> {
        WeightSource::config(self.base)
    }

    fn linear(
        &self,
        stem: &str,
        in_features: usize,
        out_features: usize,
        has_bias: bool,
    ) -> Result<LinearParts, ModelError> {
        let parts = WeightSource::linear(self.base, stem, in_features, out_features, has_bias)?;
        let Some((group_size, packed)) = self.made.get(stem) else { return Ok(parts) };
        let weight = LinearWeight::Gptq(GptqWeight {
            bits: self.bits,
            group_size: *group_size,
            in_features,
            out_features,
            qweight: Bytes::from_owner(packed.qweight.clone()),
            qzeros: Bytes::from_owner(packed.qzeros.clone()),
            scales: Bytes::from_owner(packed.scales.clone()),
            groups: match packed.g_idx.is_sorted() {
                true => GroupIndex::Sequential,
                false => GroupIndex::Permuted(packed.g_idx.clone()),
            },
        });
        Ok(LinearParts { weight, bias: parts.bias })
    }

    fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Option<DenseWeight>, ModelError> {
        self.base.matrix(name, rows, cols)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        self.base.vector(name, len)
    }

    fn release(&self, stem: &str) {
        WeightSource::release(self.base, stem);
    }

    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64 {
        self.base.stored_bytes(prefix, scales)
    }

    fn missing(&self, name: &str) -> ModelError {
        self.base.missing(name)
    }
}
