//! The harness, which runs cases on a GPU.

use std::cell::RefCell;

use half::f16;
use moss_cuda::{Buffer, Gpu, GpuLinear, Uploader};
use moss_weights::{KernelError, LinearWeight};

use super::{difference::difference, report::CaseReport, tolerance::Tolerance};

/// Runs of a kernel, which must give bit-identical results.
const RUNS: usize = 3;

/// The expected values of a case, and the function that runs the kernel.
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

    /// Returns the kernel.
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Returns a description of the shape.
    pub fn shape(&self) -> &str {
        &self.shape
    }
}

/// Runs cases on one GPU.
#[derive(Debug)]
pub struct ParityHarness<'a> {
    pub(super) gpu: &'a Gpu,
    uploader: RefCell<Uploader<'static>>,
}

impl<'a> ParityHarness<'a> {
    /// Creates a harness.
    ///
    /// # Errors
    /// [`KernelError::Driver`] if page-locked memory is exhausted.
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
    /// [`KernelError::OutOfMemory`]; [`KernelError::Driver`], after which the GPU may be unusable
    /// in this process.
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

    /// Copies a weight to the GPU.
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

    /// Copies values to the GPU in f16.
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

/// Returns all values in f32.
pub(super) fn widened(gpu: &Gpu, buffer: &Buffer<f16>) -> Result<Vec<f32>, KernelError> {
    Ok(gpu
        .download(buffer, buffer.len())?
        .iter()
        .map(|value| value.to_f32())
        .collect())
}
