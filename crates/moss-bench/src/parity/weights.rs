//! Weights of parity cases in every format, and their products on the CPU.

use candle_core::{Device, Tensor};
use moss_cpu::Linear;
use moss_cuda::{BLOCK, GpuLinear, InputOrder, InputPermutation, fragment_column};
use moss_weights::{
    DenseDtype, DenseWeight, GptqBits, KernelError, LinearWeight,
    synthetic::{Grouping, dense, packed, unpacked},
};

/// The format of a weight, and its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    F16,
    Int8(Grouping),
    Int4(Grouping),
}

impl Stored {
    /// The published formats.
    pub(super) const PUBLISHED: [Self; 3] = [
        Self::F16,
        Self::Int8(Grouping::Runs(128)),
        Self::Int4(Grouping::Runs(128)),
    ];

    /// Returns a synthetic weight.
    pub(super) fn weight(self, in_features: usize, out_features: usize, seed: u32) -> LinearWeight {
        match self {
            Self::F16 => LinearWeight::Dense(dense(in_features, out_features, seed)),
            Self::Int8(groups) => LinearWeight::Gptq(packed(
                GptqBits::Eight,
                in_features,
                out_features,
                groups,
                seed,
            )),
            Self::Int4(groups) => LinearWeight::Gptq(packed(
                GptqBits::Four,
                in_features,
                out_features,
                groups,
                seed,
            )),
        }
    }

    /// Returns the decode (GEMV) kernel of the format.
    pub(super) fn linear(self) -> &'static str {
        match self {
            Self::F16 => "linear_f16",
            Self::Int8(_) => "linear_int8",
            Self::Int4(_) => "linear_int4",
        }
    }

    /// Returns the prefill (GEMM) kernel of the format.
    pub(super) fn gemm(self) -> &'static str {
        match self {
            Self::F16 => "gemm_f16",
            Self::Int8(_) => "gemm_int8",
            Self::Int4(_) => "gemm_int4",
        }
    }
}

impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, groups) = match self {
            Self::F16 => return write!(f, "f16"),
            Self::Int8(groups) => ("int8", groups),
            Self::Int4(groups) => ("int4", groups),
        };
        match groups {
            Grouping::Runs(size) if *size >= ONE_GROUP => write!(f, "{name}, one group"),
            Grouping::Runs(128) => write!(f, "{name}"),
            Grouping::Runs(size) => write!(f, "{name}, groups of {size}"),
            Grouping::Permuted(128) => write!(f, "{name}, act-order"),
            Grouping::Permuted(size) => write!(f, "{name}, act-order, groups of {size}"),
            Grouping::Uneven(_) => write!(f, "{name}, act-order, uneven groups"),
        }
    }
}

/// A group size larger than every layer.
pub(super) const ONE_GROUP: usize = 1 << 20;

/// Returns the inputs `[n, in_features]` in the order of the input permutation of `weight`, with
/// zeros as padding.
pub(super) fn permuted(weight: &LinearWeight, x: &[f32]) -> Vec<f32> {
    let (inputs, permutation) = match weight {
        LinearWeight::Dense(dense) => (
            dense.in_features,
            InputPermutation::dense(dense.in_features),
        ),
        LinearWeight::Gptq(gptq) => (gptq.in_features, InputPermutation::of(gptq)),
    };
    let (stride, scatter) = (permutation.blocks * BLOCK, permutation.scatter(inputs));
    let mut rows = vec![0.0; x.len() / inputs * stride];
    for (to, from) in rows.chunks_exact_mut(stride).zip(x.chunks_exact(inputs)) {
        match &scatter {
            None => to[..inputs].copy_from_slice(from),
            Some(scatter) => scatter
                .iter()
                .zip(from)
                .for_each(|(column, value)| to[*column as usize] = *value),
        }
    }
    rows
}

/// Returns rows in an order of the inputs of `linear`.
pub(super) fn arranged(linear: &GpuLinear, order: InputOrder<'_>, rows: Vec<f32>) -> Vec<f32> {
    moved(linear, order, rows, |to, from, column| {
        to[fragment_column(column)] = from[column];
    })
}

/// The inverse of [`arranged`].
pub(super) fn in_column_order(
    linear: &GpuLinear,
    order: InputOrder<'_>,
    rows: Vec<f32>,
) -> Vec<f32> {
    moved(linear, order, rows, |to, from, column| {
        to[column] = from[fragment_column(column)];
    })
}

/// Returns rows after a move of every column, unless the order is that of columns.
fn moved(
    linear: &GpuLinear,
    order: InputOrder<'_>,
    rows: Vec<f32>,
    to_place: impl Fn(&mut [f32], &[f32], usize),
) -> Vec<f32> {
    if let InputOrder::Columns = order {
        return rows;
    }
    let stride = linear.input_stride();
    let mut places = rows.clone();
    for (to, from) in places.chunks_mut(stride).zip(rows.chunks(stride)) {
        (0..stride).for_each(|column| to_place(to, from, column));
    }
    places
}

/// Returns the dense weight that prefill (GEMM) multiplies: a packed one is rounded to f16.
pub(super) fn as_multiplied(weight: &LinearWeight) -> LinearWeight {
    match weight {
        LinearWeight::Dense(_) => weight.clone(),
        LinearWeight::Gptq(gptq) => LinearWeight::Dense(DenseWeight {
            dtype: DenseDtype::F16,
            out_features: gptq.out_features,
            in_features: gptq.in_features,
            data: unpacked(gptq)
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect::<Vec<u8>>()
                .into(),
        }),
    }
}

/// Computes `x W^T + bias` with the CPU kernels, `[n, out_features]`.
pub(super) fn on_cpu(
    weight: &LinearWeight,
    bias: Option<&[f32]>,
    x: &[f32],
) -> Result<Vec<f32>, KernelError> {
    let linear = Linear::new(weight.clone(), bias.map(<[f32]>::to_vec), &Device::Cpu)?;
    let inputs = linear.in_features();
    let x = Tensor::from_slice(x, (x.len() / inputs, inputs), &Device::Cpu)?;
    Ok(linear.forward(&x)?.flatten_all()?.to_vec1()?)
}
