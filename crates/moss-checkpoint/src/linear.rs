//! The tensors of one linear layer: a dense matrix, or GPTQ's four.
//!
//! The layout of GPTQ (arXiv 2210.17323) in AutoGPTQ and the published MOSS checkpoints is
//! `w[out][in] = scales[g][out] * (q[in][out] - (stored_zero[g][out] + 1))` with `g = g_idx[in]`.
//! Checkpoints in the convention `gptq_v2`, which stores the zero point itself, are converted to
//! it.

use bytes::Bytes;
use half::f16;
use moss_weights::{GptqBits, GptqWeight, LinearParts, LinearShape, LinearWeight};

use crate::{
    CheckpointError, DType, Tensor, TensorInfo, ZeroPoints,
    error::DtypeRule,
    gptq_v2::to_less_one,
    groups::{PackedLayer, resolve},
    manifest::Manifest,
    tensor_index::TensorIndex,
};

/// Reads the linear layer `stem`, with every shape and type checked.
pub(crate) fn read_linear(
    manifest: &Manifest,
    stem: &str,
    shape: LinearShape,
) -> Result<LinearParts, CheckpointError> {
    let tensors = &manifest.tensors;
    let bias = read_bias(tensors, stem, shape)?;
    let weight = if tensors.contains(&format!("{stem}.qweight")) {
        LinearWeight::Gptq(read_gptq(manifest, stem, shape)?)
    } else {
        let weight = tensors.tensor(&format!("{stem}.weight"))?;
        LinearWeight::Dense(weight.into_matrix(shape.out_features, shape.in_features)?)
    };
    Ok(LinearParts { weight, bias })
}

/// Reads the bias of a layer that has one. Quantizers also write zeros for layers without a bias;
/// these are ignored.
fn read_bias(
    tensors: &TensorIndex,
    stem: &str,
    shape: LinearShape,
) -> Result<Option<Vec<f32>>, CheckpointError> {
    let name = format!("{stem}.bias");
    if shape.has_bias {
        let bias = tensors.tensor(&name)?;
        bias.expect_shape(&[shape.out_features])?.check_finite()?;
        return Ok(Some(bias.to_f32()?));
    }
    if tensors.contains(&name) {
        let bias = tensors.tensor(&name)?;
        let values = bias.to_f32()?;
        if let Some(at) = values.iter().position(|value| *value != 0.0) {
            return Err(CheckpointError::UnexpectedBias {
                name,
                file: bias.file,
                at,
                value: values[at],
            });
        }
    }
    Ok(None)
}

fn read_gptq(
    manifest: &Manifest,
    stem: &str,
    shape: LinearShape,
) -> Result<GptqWeight, CheckpointError> {
    let LinearShape {
        in_features,
        out_features,
        ..
    } = shape;
    let tensors = &manifest.tensors;
    let qweight = packed_words(tensors, &format!("{stem}.qweight"))?;
    let bits = bits_of(tensors.info(&qweight.name)?, in_features)?;
    let per_word = bits.per_word();
    qweight.expect_shape(&[in_features / per_word, out_features])?;

    let scales = tensors.tensor(&format!("{stem}.scales"))?;
    let groups = scales.shape.first().copied().unwrap_or(0);
    scales.expect_shape(&[groups, out_features])?;
    let scales = to_f16(scales)?;
    let layer = PackedLayer {
        stem,
        bits,
        in_features,
        groups,
    };
    let found = resolve(manifest, layer)?;
    // The weights of a packed word share a group, unless there is only one group.
    if groups > 1 && !found.size.is_multiple_of(per_word) {
        return Err(CheckpointError::GroupAlignment {
            name: scales.name,
            file: scales.file,
            group_size: found.size,
            multiple: per_word,
        });
    }
    let qzeros = packed_words(tensors, &format!("{stem}.qzeros"))?;
    qzeros.expect_shape(&[groups, out_features.div_ceil(per_word)])?;
    let mut weight = GptqWeight {
        bits,
        group_size: found.size,
        in_features,
        out_features,
        qweight: qweight.data,
        qzeros: qzeros.data,
        scales: scales.data,
        groups: found.index,
    };
    if manifest.zero_points() == ZeroPoints::Plain {
        to_less_one(&mut weight);
    }
    Ok(weight)
}

/// Returns a tensor of packed 32-bit words.
fn packed_words(tensors: &TensorIndex, name: &str) -> Result<Tensor, CheckpointError> {
    let tensor = tensors.tensor(name)?;
    if tensor.dtype == DType::I32 {
        Ok(tensor)
    } else {
        Err(tensor.wrong_dtype(DtypeRule::I32))
    }
}

/// Rounds scales to f16, the type that kernels read; upstream does the same. A scale that becomes
/// infinite or zero is an error.
fn to_f16(scales: Tensor) -> Result<Tensor, CheckpointError> {
    let dtype = scales.dense_dtype()?;
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
    let mut rounded = vec![f16::ZERO; wide.len()];
    dtype.to_f16(&scales.data, &mut rounded);
    let bytes: Vec<u8> = rounded.into_iter().flat_map(f16::to_le_bytes).collect();
    let scales = Tensor {
        dtype: DType::F16,
        data: Bytes::from(bytes),
        ..scales
    };
    scales.check_finite()?; // values beyond the range of f16 have become infinite
    Ok(scales)
}

/// Returns the bit width, from the rows of a packed matrix.
pub(crate) fn bits_of(
    qweight: &TensorInfo,
    in_features: usize,
) -> Result<GptqBits, CheckpointError> {
    let rows = qweight.shape.first().copied().unwrap_or(0);
    GptqBits::ALL
        .into_iter()
        .find(|bits| rows.checked_mul(bits.per_word()) == Some(in_features))
        .ok_or_else(|| CheckpointError::BitWidth {
            name: qweight.name.clone(),
            file: qweight.file.clone(),
            rows,
            in_features,
        })
}
