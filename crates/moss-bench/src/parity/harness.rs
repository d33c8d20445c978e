//! The harness: cases, tolerances, and the weights and inputs that cases share.

use std::cell::RefCell;

use candle_core::{Device, Tensor};
use half::f16;
use moss_cpu::Linear;
use moss_cuda::{BLOCK, Buffer, Gpu, GpuLinear, Places, Uploader};
use moss_weights::{
    GptqBits, KernelError, LinearWeight,
    synthetic::{Grouping, dense, packed},
};

use super::{
    CaseReport, attention, difference::difference, elementwise, fused, gemm, linear, top_k,
};

/// KernelTimes that a kernel runs.
const RUNS: usize = 3;

/// A difference that is no mistake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) allowed: f64,
    pub(super) reason: &'static str,
}

impl Tolerance {
    /// Values that are moved, or computed in the same steps.
    pub(super) const NONE: Self = Self {
        allowed: 0.0,
        reason: "the same operations in the same order",
    };

    /// One rounding to f16, of values that are right to f32.
    pub(super) const HALF: Self = Self {
        allowed: 1.05 * HALF_STEP,
        reason: "rounded to f16 once: half a step of 2^-10",
    };

    /// Sums over `inputs` on tensor cores, which cut off what does not fit after each step of 8 or
    /// 16 inputs.
    pub(super) fn sums(inputs: usize) -> Self {
        let steps = 64.0 + 4.0 * inputs.div_ceil(64) as f64;
        Self {
            allowed: steps * f64::from(f32::EPSILON),
            reason: "f32 sums in another order, each step of 8 or 16 inputs cut off: 2^-23 times (64 + inputs / 16)",
        }
    }

    /// The same, then rounded to f16.
    pub(super) fn sums_to_half(inputs: usize) -> Self {
        Self {
            allowed: Self::sums(inputs).allowed + Self::HALF.allowed,
            reason: "f32 sums in another order, 2^-23 times (64 + inputs / 16); then rounded to f16, half a step of 2^-10",
        }
    }
}

/// Half the distance of neighbouring f16 values, as a part of them.
pub(super) const HALF_STEP: f64 = 1.0 / 2048.0;

/// What is expected, and what makes the kernel's own.
pub(super) struct Prepared<'a> {
    pub(super) expected: Vec<f32>,
    pub(super) run: Box<dyn Fn() -> Result<Vec<f32>, KernelError> + 'a>,
}

pub(super) type Prepare = dyn for<'a> Fn(&ParityHarness<'a>) -> Result<Prepared<'a>, KernelError>;

/// One kernel at one shape.
pub struct Case {
    kernel: &'static str,
    shape: String,
    tolerance: Tolerance,
    prepare: Box<Prepare>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.kernel, self.shape)
    }
}

impl Case {
    pub(super) fn new(
        kernel: &'static str,
        shape: impl Into<String>,
        tolerance: Tolerance,
        prepare: impl for<'a> Fn(&ParityHarness<'a>) -> Result<Prepared<'a>, KernelError> + 'static,
    ) -> Self {
        Self {
            kernel,
            shape: shape.into(),
            tolerance,
            prepare: Box::new(prepare),
        }
    }

    /// The kernel.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// The shape, in words.
    pub fn shape(&self) -> &str {
        &self.shape
    }
}

/// Every case, family by family.
pub fn cases() -> Vec<Case> {
    [
        elementwise::cases(),
        linear::cases(),
        fused::cases(),
        attention::cases(),
        gemm::cases(),
        top_k::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A card to compare on.
#[derive(Debug)]
pub struct ParityHarness<'a> {
    pub(super) gpu: &'a Gpu,
    uploader: RefCell<Uploader<'static>>,
}

impl<'a> ParityHarness<'a> {
    /// # Errors
    /// [`KernelError::Driver`] where there is no page-locked memory left.
    pub fn new(gpu: &'a Gpu) -> Result<Self, KernelError> {
        Ok(Self {
            gpu,
            uploader: RefCell::new(Uploader::new(gpu, &|from, to| {
                to.copy_from_slice(from);
                Ok(())
            })?),
        })
    }

    /// Runs a case.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`]; [`KernelError::Driver`], after which the card may be of no
    /// more use to this process.
    pub fn check(&self, case: &Case) -> Result<CaseReport, KernelError> {
        let Prepared { expected, run } = (case.prepare)(self)?;
        let found = run()?;
        let mut repeats = true;
        for _ in 1..RUNS {
            repeats &= bits(&run()?) == bits(&found);
        }
        let Tolerance { allowed, reason } = case.tolerance;
        Ok(CaseReport {
            kernel: case.kernel,
            shape: case.shape.clone(),
            max_error: difference(&found, &expected),
            allowed,
            reason,
            repeats,
        })
    }

    pub(super) fn load(
        &self,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
    ) -> Result<GpuLinear, KernelError> {
        GpuLinear::load(
            self.gpu,
            weight,
            bias,
            &mut self.uploader.borrow_mut(),
            &mut None,
        )
    }

    pub(super) fn halves(&self, values: &[f32]) -> Result<Buffer<f16>, KernelError> {
        self.gpu.upload(
            &values
                .iter()
                .map(|value| f16::from_f32(*value))
                .collect::<Vec<_>>(),
        )
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// All values, widened.
pub(super) fn widened(gpu: &Gpu, buffer: &Buffer<f16>) -> Result<Vec<f32>, KernelError> {
    Ok(gpu
        .download(buffer, buffer.len())?
        .iter()
        .map(|value| value.to_f32())
        .collect())
}

/// How a weight is stored, and in which groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    F16,
    Int8(Grouping),
    Int4(Grouping),
}

impl Stored {
    /// One a kernel, as published.
    pub(super) const PUBLISHED: [Self; 3] = [
        Self::F16,
        Self::Int8(Grouping::Runs(128)),
        Self::Int4(Grouping::Runs(128)),
    ];

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

    /// The kernel of few rows.
    pub(super) fn linear(self) -> &'static str {
        match self {
            Self::F16 => "linear_f16",
            Self::Int8(_) => "linear_int8",
            Self::Int4(_) => "linear_int4",
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

/// A group size that no layer reaches.
pub(super) const ONE_GROUP: usize = 1 << 20;

/// Rows `[n, in_features]` as the kernels read them for `weight`: each input at its place, zeros
/// between.
pub(super) fn permuted(weight: &LinearWeight, x: &[f32]) -> Vec<f32> {
    let (inputs, places) = match weight {
        LinearWeight::Dense(dense) => (dense.in_features, Places::dense(dense.in_features)),
        LinearWeight::Gptq(gptq) => (gptq.in_features, Places::of(gptq)),
    };
    let (stride, scatter) = (places.blocks * BLOCK, places.scatter(inputs));
    let mut rows = vec![0.0; x.len() / inputs * stride];
    for (to, from) in rows.chunks_exact_mut(stride).zip(x.chunks_exact(inputs)) {
        match &scatter {
            None => to[..inputs].copy_from_slice(from),
            Some(scatter) => scatter
                .iter()
                .zip(from)
                .for_each(|(place, value)| to[*place as usize] = *value),
        }
    }
    rows
}

/// `x W^T + bias` by the CPU's kernels, `[n, out_features]`.
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
