//! Dequantization of GPTQ-packed weights as a candle operation.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Tensor, WithDType};
use half::f16;
use rayon::prelude::*;

use crate::{GptqBits, GptqWeight, GroupIndex, KernelError};

const OP: &str = "dequantize";

/// A GPTQ-packed weight as candle tensors, in the published layout.
#[derive(Debug, Clone)]
pub struct PackedWeight {
    /// u32 `[in_features / per_word, out_features]`
    qweight: Tensor,
    /// u32 `[groups, zero_words]`
    qzeros: Tensor,
    /// f16 `[groups, out_features]`
    scales: Tensor,
    op: Dequantize,
}

#[derive(Debug, Clone)]
struct Dequantize {
    bits: GptqBits,
    group_size: usize,
    groups: GroupIndex,
    in_features: usize,
    out_features: usize,
}

impl PackedWeight {
    /// Copies the packed bytes of `weight` into tensors on the CPU.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for lengths that do not fit.
    pub fn new(weight: &GptqWeight) -> Result<Self, KernelError> {
        weight.check(OP)?;
        let (outputs, groups) = (weight.out_features, weight.num_groups());
        let tensor = |data, dtype, shape| Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu);
        let words = weight.in_features / weight.bits.per_word();
        Ok(Self {
            qweight: tensor(&weight.qweight, DType::U32, &[words, outputs])?,
            qzeros: tensor(&weight.qzeros, DType::U32, &[groups, weight.zero_words()])?,
            scales: tensor(&weight.scales, DType::F16, &[groups, outputs])?,
            op: Dequantize {
                bits: weight.bits,
                group_size: weight.group_size,
                groups: weight.groups.clone(),
                in_features: weight.in_features,
                out_features: outputs,
            },
        })
    }

    /// Computes the weight as an f32 matrix `[in_features, out_features]`: each element is `scale *
    /// (q - (stored_zero + 1))`, rounded once.
    ///
    /// # Errors
    /// [`KernelError::Tensor`] if candle cannot run the operation.
    pub fn dequantize(&self) -> Result<Tensor, KernelError> {
        let Self {
            qweight,
            qzeros,
            scales,
            op,
        } = self;
        Ok(qweight.apply_op3_no_bwd(qzeros, scales, op)?)
    }
}

impl CustomOp3 for Dequantize {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        qweight: &CpuStorage,
        qweight_layout: &Layout,
        qzeros: &CpuStorage,
        qzeros_layout: &Layout,
        scales: &CpuStorage,
        scales_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let qweight: &[u32] = contiguous(qweight, qweight_layout)?;
        let qzeros: &[u32] = contiguous(qzeros, qzeros_layout)?;
        let scales: &[f16] = contiguous(scales, scales_layout)?;
        let (inputs, outputs) = (self.in_features, self.out_features);
        let (per_word, bits) = (self.bits.per_word(), self.bits.bits());
        let zero_words = outputs.div_ceil(per_word);
        let field = |word: u32, index: usize| word >> (index * bits) & (u32::MAX >> (32 - bits));
        let mut weight = vec![0f32; inputs * outputs];
        let rows = weight.par_chunks_exact_mut(outputs).enumerate();
        rows.for_each(|(input, row)| {
            let group = match &self.groups {
                GroupIndex::Sequential => input / self.group_size,
                GroupIndex::Permuted(groups) => groups[input] as usize,
            };
            let words = &qweight[input / per_word * outputs..][..outputs];
            let zeros = &qzeros[group * zero_words..][..zero_words];
            let scales = &scales[group * outputs..][..outputs];
            for (output, weight) in row.iter_mut().enumerate() {
                let q = field(words[output], input % per_word);
                let zero = field(zeros[output / per_word], output % per_word) + 1;
                *weight = scales[output].to_f32() * (q as f32 - zero as f32);
            }
        });
        Ok((CpuStorage::F32(weight), Shape::from((inputs, outputs))))
    }
}

fn contiguous<'a, T: WithDType>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [T]> {
    let values = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => candle_core::bail!("{OP} takes contiguous tensors"),
    }
}
