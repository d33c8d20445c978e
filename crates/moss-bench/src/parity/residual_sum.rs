//! [out_proj | fc_out] with the residual sum, for parity cases of decode and of prefill.

use half::f16;
use moss_cuda::{
    Buffer, CompleteInput, GemmScratch, Gpu, GpuLinear, InputOrder, LinearInput, LinearPair,
    NonFiniteCheck,
};
use moss_weights::{KernelError, LinearWeight, synthetic::noise};

use super::{
    harness::ParityHarness,
    path::Path,
    weights::{Stored, arranged, permuted},
};

/// The weights of [out_proj | fc_out] on the host and on the GPU.
pub(super) struct ResidualSum<'a> {
    path: Path,
    pub(super) gpu: &'a Gpu,
    pub(super) weights: [LinearWeight; 2],
    pub(super) bias: Vec<f32>,
    pair: LinearPair,
    scratch: GemmScratch,
    /// The report of non-finite values, which name layer 3.
    pub(super) flag: Buffer<u64>,
}

impl<'a> ResidualSum<'a> {
    pub(super) fn new(
        harness: &ParityHarness<'a>,
        path: Path,
        (inputs, outputs): ([usize; 2], usize),
        stored: [Stored; 2],
        tokens: usize,
    ) -> Result<Self, KernelError> {
        let weights = [
            stored[0].weight(inputs[0], outputs, 42),
            stored[1].weight(inputs[1], outputs, 43),
        ];
        let (gpu, bias) = (harness.gpu, noise(outputs, 1.0, 37));
        Ok(Self {
            path,
            gpu,
            pair: LinearPair {
                first: harness.load(&weights[0], None)?,
                second: harness.load(&weights[1], Some(&bias))?,
            },
            weights,
            bias,
            scratch: GemmScratch::new(gpu, outputs, tokens)?,
            flag: gpu.upload(&[u64::MAX])?,
        })
    }

    fn order(&self, linear: &GpuLinear) -> InputOrder<'static> {
        match self.path {
            Path::Decode => InputOrder::Columns,
            Path::Prefill => linear.prompt_order(),
        }
    }

    /// Copies inputs to the GPU, in the order of the input permutations.
    pub(super) fn inputs(
        &self,
        harness: &ParityHarness<'_>,
        x: [&[f32]; 2],
    ) -> Result<[Buffer<f16>; 2], KernelError> {
        let input = |at: usize, linear| {
            let rows = permuted(&self.weights[at], x[at]);
            harness.halves(&arranged(linear, self.order(linear), rows))
        };
        Ok([input(0, &self.pair.first)?, input(1, &self.pair.second)?])
    }

    /// Returns the residual stream of `n` tokens after the sum.
    pub(super) fn run(
        &self,
        x: &[Buffer<f16>; 2],
        stream: &[f32],
        n: usize,
    ) -> Result<Vec<f32>, KernelError> {
        let (gpu, pair) = (self.gpu, &self.pair);
        let sum = gpu.upload(stream)?;
        let check = NonFiniteCheck {
            flag: &self.flag,
            layer: 3,
        };
        let input = |values, linear: &GpuLinear| LinearInput {
            values,
            stride: linear.input_stride(),
            order: self.order(linear),
        };
        let (attended, inner) = (input(&x[0], &pair.first), input(&x[1], &pair.second));
        match self.path {
            Path::Decode => {
                let inner = CompleteInput::synchronize(gpu, inner)?;
                gpu.out_fc_out(pair, attended, &inner, n, &sum, check)?;
            }
            Path::Prefill => {
                let scratch = &self.scratch;
                gpu.prefill_out_fc_out(pair, attended, inner, n, &sum, check, scratch)?;
            }
        }
        gpu.download(&sum, sum.len())
    }
}
