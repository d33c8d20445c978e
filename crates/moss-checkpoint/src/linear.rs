//! The tensors of one linear layer: a dense matrix, or GPTQ's four.
//!
//! GPTQ (arXiv 2210.17323) as AutoGPTQ and the published MOSS checkpoints lay it out: `w[out][in] =
//! scales[g][out] * (q[in][out] - (stored_zero[g][out] + 1))` with `g = g_idx[in]`. Checkpoints in
//! the `gptq_v2` convention, which stores the zero point itself, are brought into this form.

use bytes::Bytes;
use half::f16;

use crate::{
    Checkpoint, CheckpointError, DType, Tensor, TensorInfo,
    declared::{Declared, ZeroPoints},
    error::DtypeRule,
    groups::resolve,
    zero_points::{Packed, less_one},
};

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
    /// `[groups, out_features * bits / 32]` i32, zero points less one, lowest bits first along the
    /// outputs.
    pub qzeros: Tensor,
    /// `[groups, out_features]` f16, finite; bf16 and f32 are rounded to it.
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
    /// The linear layer called `stem`, such as `transformer.h.3.attn.qkv_proj`, with every shape
    /// and type checked.
    ///
    /// # Errors
    /// Typed errors naming the tensor and its file for whatever is missing, of another shape or
    /// type, or not finite, and for a bias that is not zero where the layer has none.
    pub fn linear(
        &self,
        stem: &str,
        in_features: usize,
        out_features: usize,
        has_bias: bool,
    ) -> Result<LinearTensors, CheckpointError> {
        let bias = self.bias(stem, out_features, has_bias)?;
        if self.contains(&format!("{stem}.qweight")) {
            let linear = self.gptq(stem, in_features, out_features, bias)?;
            return Ok(LinearTensors::Gptq(Box::new(linear)));
        }
        let weight = self.tensor(&format!("{stem}.weight"))?;
        weight.expect_shape(&[out_features, in_features])?;
        match weight.dtype {
            DType::F16 | DType::BF16 | DType::F32 => Ok(LinearTensors::Dense { weight, bias }),
            _ => Err(weight.wrong_dtype(DtypeRule::Float)),
        }
    }

    /// The bias of a layer that has one. Quantisers write zeros for the others too, which mean
    /// nothing.
    fn bias(
        &self,
        stem: &str,
        out_features: usize,
        has_bias: bool,
    ) -> Result<Option<Tensor>, CheckpointError> {
        let name = format!("{stem}.bias");
        if has_bias {
            let bias = self.tensor(&name)?;
            bias.expect_shape(&[out_features])?.check_finite()?;
            return Ok(Some(bias));
        }
        if self.contains(&name) {
            let bias = self.tensor(&name)?;
            if let Some((at, &value)) = bias
                .to_f32()?
                .iter()
                .enumerate()
                .find(|(_, value)| **value != 0.0)
            {
                return Err(CheckpointError::UnexpectedBias {
                    name,
                    file: bias.file,
                    at,
                    value,
                });
            }
        }
        Ok(None)
    }

    fn gptq(
        &self,
        stem: &str,
        in_features: usize,
        out_features: usize,
        bias: Option<Tensor>,
    ) -> Result<GptqLinear, CheckpointError> {
        let mut qweight = self.words(&format!("{stem}.qweight"))?;
        let bits = bits_of(self.info(&qweight.name)?, in_features)?;
        let per_word = 32 / bits as usize;
        qweight.expect_shape(&[in_features / per_word, out_features])?;

        let scales = self.tensor(&format!("{stem}.scales"))?;
        let groups = scales.shape.first().copied().unwrap_or(0);
        scales.expect_shape(&[groups, out_features])?;
        let mut scales = to_f16(scales)?;
        let found = resolve(self, stem, bits, in_features, groups)?;
        // Packed words belong to one group each, unless there is one group alone.
        if groups > 1 && !found.size.is_multiple_of(per_word) {
            return Err(CheckpointError::GroupAlignment {
                name: scales.name,
                file: scales.file,
                group_size: found.size,
                multiple: per_word,
            });
        }
        let mut qzeros = self.words(&format!("{stem}.qzeros"))?;
        qzeros.expect_shape(&[groups, out_features.div_ceil(per_word)])?;
        if self.zero_points() == ZeroPoints::Plain {
            let packed = Packed {
                bits,
                qweight: &mut qweight,
                qzeros: &mut qzeros,
                scales: &mut scales,
            };
            less_one(packed, &found.index, found.size, out_features);
        }
        let (group_size, g_idx) = (found.size, found.index);
        Ok(GptqLinear {
            bits,
            group_size,
            in_features,
            out_features,
            qweight,
            qzeros,
            scales,
            g_idx,
            bias,
        })
    }

    /// How the file stores zero points, as its configuration says.
    pub(crate) fn zero_points(&self) -> ZeroPoints {
        self.declared()
            .and_then(|declared: &Declared| declared.zero_points)
            .unwrap_or_default()
    }

    fn words(&self, name: &str) -> Result<Tensor, CheckpointError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype == DType::I32 {
            Ok(tensor)
        } else {
            Err(tensor.wrong_dtype(DtypeRule::I32))
        }
    }
}

/// Returns scales in the type that kernels read. Upstream rounds them to f16, too. Those that f16
/// cannot hold, because they become infinite or zero, are errors.
fn to_f16(scales: Tensor) -> Result<Tensor, CheckpointError> {
    if !matches!(scales.dtype, DType::F16 | DType::BF16 | DType::F32) {
        return Err(scales.wrong_dtype(DtypeRule::Float));
    }
    scales.check_finite()?;
    if scales.dtype == DType::F16 {
        return Ok(scales);
    }
    let wide = scales.to_f32()?;
    let is_lost = |scale: &f32| *scale != 0.0 && f16::from_f32(*scale) == f16::ZERO;
    if let Some(at) = wide.iter().position(is_lost) {
        return Err(CheckpointError::Underflow {
            name: scales.name,
            file: scales.file,
            at,
            value: wide[at],
        });
    }
    let rounded: Vec<u8> = wide
        .into_iter()
        .flat_map(|scale| f16::from_f32(scale).to_le_bytes())
        .collect();
    let scales = Tensor {
        dtype: DType::F16,
        data: Bytes::from(rounded),
        ..scales
    };
    scales.check_finite()?; // what f16 cannot hold has become infinite
    Ok(scales)
}

/// Bit width from the rows of a packed matrix.
pub(crate) fn bits_of(qweight: &TensorInfo, in_features: usize) -> Result<u32, CheckpointError> {
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
