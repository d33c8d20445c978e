//! The tensors of one linear layer: a dense matrix, or GPTQ's four.
//!
//! GPTQ (arXiv 2210.17323) as AutoGPTQ and the published MOSS checkpoints lay it out:
//! `w[out][in] = scales[g][out] * (q[in][out] - (stored_zero[g][out] + 1))` with `g = g_idx[in]`.

use crate::{Checkpoint, CheckpointError, DType, Tensor};

/// Group of each input feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupIndex {
    /// Input `i` belongs to group `i / group_size`.
    Sequential,
    /// Quantised in order of activation: the group of each input, `[in_features]`.
    Permuted(Vec<u32>),
}

/// A quantised linear layer, packed as stored.
#[derive(Debug, Clone)]
pub struct GptqLinear {
    /// Bits of a weight: 4 or 8, from the shapes.
    pub bits: u32,
    /// Input features that share a scale.
    pub group_size: usize,
    /// Columns of the weight.
    pub in_features: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// `[in_features * bits / 32, out_features]` i32, lowest bits first along the inputs.
    pub qweight: Tensor,
    /// `[groups, out_features * bits / 32]` i32, zero points less one, lowest bits first along the outputs.
    pub qzeros: Tensor,
    /// `[groups, out_features]` f16, finite.
    pub scales: Tensor,
    /// Which group each input belongs to.
    pub g_idx: GroupIndex,
    /// `[out_features]`, finite, where the layer has one.
    pub bias: Option<Tensor>,
}

/// A linear layer as stored.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // short-lived, and the larger one is the common one
pub enum LinearTensors {
    /// One matrix.
    Dense {
        /// `[out_features, in_features]` f16, bf16 or f32.
        weight: Tensor,
        /// `[out_features]`, finite, where the layer has one.
        bias: Option<Tensor>,
    },
    /// Packed weights.
    Gptq(Box<GptqLinear>),
}

impl Checkpoint {
    /// The linear layer called `stem`, such as `transformer.h.3.attn.qkv_proj`, with every shape and type checked.
    ///
    /// # Errors
    /// Typed errors naming the tensor and its file for whatever is missing, of another shape or type, or not finite.
    pub fn linear(
        &self,
        stem: &str,
        in_features: usize,
        out_features: usize,
        has_bias: bool,
    ) -> Result<LinearTensors, CheckpointError> {
        let bias = if has_bias {
            let bias = self.tensor(&format!("{stem}.bias"))?;
            bias.expect_shape(&[out_features])?.check_finite()?;
            Some(bias)
        } else {
            None
        };
        if self.contains(&format!("{stem}.qweight")) {
            let linear = self.gptq(stem, in_features, out_features, bias)?;
            return Ok(LinearTensors::Gptq(Box::new(linear)));
        }
        let weight = self.tensor(&format!("{stem}.weight"))?;
        weight.expect_shape(&[out_features, in_features])?;
        match weight.dtype {
            DType::F16 | DType::BF16 | DType::F32 => Ok(LinearTensors::Dense { weight, bias }),
            _ => Err(weight.wrong_dtype("f16, bf16 or f32")),
        }
    }

    fn gptq(
        &self,
        stem: &str,
        in_features: usize,
        out_features: usize,
        bias: Option<Tensor>,
    ) -> Result<GptqLinear, CheckpointError> {
        let qweight = self.words(&format!("{stem}.qweight"))?;
        let bits = bits_of(&qweight, in_features)?;
        let per_word = 32 / bits as usize;
        qweight.expect_shape(&[in_features / per_word, out_features])?;

        let scales = self.tensor(&format!("{stem}.scales"))?;
        let groups = scales.shape.first().copied().unwrap_or(0);
        scales.expect_shape(&[groups, out_features])?;
        if scales.dtype != DType::F16 {
            return Err(scales.wrong_dtype("f16"));
        }
        scales.check_finite()?;
        let group_size = group_size(self.config().groupsize, groups, in_features).ok_or_else(|| {
            CheckpointError::GroupSize {
                name: scales.name.clone(),
                file: scales.file.clone(),
                groups,
                in_features,
            }
        })?;
        let qzeros = self.words(&format!("{stem}.qzeros"))?;
        qzeros.expect_shape(&[groups, out_features.div_ceil(per_word)])?;

        let name = format!("{stem}.g_idx");
        let g_idx = if self.contains(&name) {
            group_index(&self.tensor(&name)?, in_features, groups, group_size)?
        } else {
            GroupIndex::Sequential
        };
        Ok(GptqLinear { bits, group_size, in_features, out_features, qweight, qzeros, scales, g_idx, bias })
    }

    fn words(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype == DType::I32 { Ok(tensor) } else { Err(tensor.wrong_dtype("i32")) }
    }
}

/// Bit width from the rows of a packed matrix.
pub(crate) fn bits_of(qweight: &Tensor, in_features: usize) -> Result<u32, CheckpointError> {
    let rows = qweight.shape.first().copied().unwrap_or(0);
    match () {
        () if rows.checked_mul(8) == Some(in_features) => Ok(4),
        () if rows.checked_mul(4) == Some(in_features) => Ok(8),
        () => Err(CheckpointError::BitWidth {
            name: qweight.name.clone(),
            file: qweight.file.clone(),
            rows,
            in_features,
        }),
    }
}

/// The configured group size where the shapes agree with it, then upstream's, then the one that divides the inputs evenly.
pub(crate) fn group_size(configured: Option<i64>, groups: usize, in_features: usize) -> Option<usize> {
    const UPSTREAM: usize = 128; // the default of the published quantiser, and every published checkpoint's
    let agrees = |size: &usize| *size > 0 && groups > 0 && in_features.div_ceil(*size) == groups;
    let configured = configured.and_then(|size| usize::try_from(size).ok());
    let even = in_features.checked_div(groups).filter(|size| size.checked_mul(groups) == Some(in_features));
    [configured, (in_features > UPSTREAM).then_some(UPSTREAM), even].into_iter().flatten().find(agrees)
}

fn group_index(
    tensor: &Tensor,
    in_features: usize,
    groups: usize,
    group_size: usize,
) -> Result<GroupIndex, CheckpointError> {
    let found = tensor.expect_shape(&[in_features])?.to_i32()?;
    if let Some((at, &group)) =
        found.iter().enumerate().find(|(_, group)| !(0..groups as i64).contains(&i64::from(**group)))
    {
        return Err(CheckpointError::Group {
            name: tensor.name.clone(),
            file: tensor.file.clone(),
            at,
            found: group,
            last: groups - 1,
        });
    }
    let sequential = found.iter().enumerate().all(|(i, group)| i / group_size == *group as usize);
    if sequential {
        return Ok(GroupIndex::Sequential);
    }
    Ok(GroupIndex::Permuted(found.iter().map(|group| *group as u32).collect()))
}
