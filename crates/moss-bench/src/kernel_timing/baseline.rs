//! cuBLAS as a baseline of the matrix products of a prompt.

use half::f16;
use moss_cuda::{Gpu, GpuLinear, InputOrder, LinearInput};
use moss_weights::{KernelError, synthetic::noise};

use super::{median::median, network::SPEC, times::KernelTime};

/// Dense weights of the sizes of [qkv_proj | fc_in] and [out_proj | fc_out]. Each is several times
/// larger than an L2 cache, so one layer suffices.
pub(super) struct Baseline<'a> {
    gpu: &'a Gpu,
    products: [(&'static str, GpuLinear); 2],
}

impl<'a> Baseline<'a> {
    /// Loads cuBLAS. Returns `None` if it cannot be loaded.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub(super) fn new(gpu: &'a Gpu) -> Result<Option<Self>, KernelError> {
        if gpu.prepare_cublas().is_err() {
            return Ok(None);
        }
        let (hidden, inner) = (SPEC.hidden_size(), SPEC.inner_size);
        let dense =
            |inputs, outputs, seed| GpuLinear::random(gpu, None, inputs, outputs, None, seed);
        Ok(Some(Self {
            gpu,
            products: [
                (
                    "cuBLAS: qkv_proj, fc_in",
                    dense(hidden, 3 * hidden + inner, 1)?,
                ),
                (
                    "cuBLAS: out_proj, fc_out",
                    dense(hidden + inner, hidden, 2)?,
                ),
            ],
        }))
    }

    /// Times the products of `n` tokens, which are stored in f16. They run `calls` times in a
    /// prompt.
    pub(super) fn times(&self, n: usize, calls: usize) -> Result<Vec<KernelTime>, KernelError> {
        self.products
            .iter()
            .map(|(kernel, linear)| {
                let (inputs, outputs) = (linear.in_features(), linear.out_features());
                // The time depends on the values: zeros need less power, so clocks are higher.
                let x: Vec<f16> = noise(n * inputs, 1.0, 3)
                    .into_iter()
                    .map(f16::from_f32)
                    .collect();
                let x = self.gpu.upload(&x)?;
                let y = self.gpu.zeros(n * outputs)?;
                let x = LinearInput {
                    values: &x,
                    stride: inputs,
                    order: InputOrder::Columns,
                };
                // As many as of the other products: the clocks fall under load.
                let run = || -> Result<(), KernelError> {
                    (0..calls).try_for_each(|_| self.gpu.cublas_product(linear, x, n, &y))
                };
                let seconds = median(|| Ok(self.gpu.time(run)? / calls as f64))?;
                Ok(KernelTime {
                    kernel,
                    calls,
                    bytes: linear.weight_bytes() + (2 * n * (inputs + outputs)) as u64,
                    operations: 2.0 * (n * inputs * outputs) as f64,
                    seconds,
                })
            })
            .collect()
    }
}
