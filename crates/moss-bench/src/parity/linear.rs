//! `linear_{f16,int8,int4}`: every kernel for a number of tokens, and inputs, outputs and groups
//! that are not multiples of a block.

use half::f16;
use moss_cuda::{
    Buffer, Gpu, GpuLinear, LinearInput, LinearScratch, MAX_DECODE_TOKENS, NonFiniteCheck,
};
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, halves, noise},
};

use super::{
    harness::{Case, ParityHarness, Prepared},
    tolerance::Tolerance,
    weights::{ONE_GROUP, Stored, arranged, on_cpu, permuted},
};

/// Numbers of tokens around those at which another kernel or another column tile begins.
const TOKENS: [usize; 11] = [1, 2, 7, 8, 9, 16, 17, 32, 33, 64, 65];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for stored in Stored::PUBLISHED {
        for tokens in TOKENS {
            cases.push(store(stored, 200, 33, tokens));
            cases.push(store(stored, 1024, 48, tokens));
        }
        // The linear layers of the test checkpoints and of the demo model.
        for (inputs, outputs) in [
            (128, 384),
            (384, 128),
            (128, 128),
            (128, 512),
            (512, 128),
            (1024, 3072),
            (1024, 128),
            (128, 1024),
        ] {
            cases.push(store(stored, inputs, outputs, 1));
        }
        // Fewer outputs than a tile or fewer inputs than a block, one more than a multiple of them,
        // and inputs that do not divide evenly among warps.
        for (inputs, outputs) in [(8, 5), (64, 16), (72, 17), (1032, 31), (4104, 65)] {
            cases.push(store(stored, inputs, outputs, 1));
            cases.push(store(stored, inputs, outputs, 3));
        }
        cases.push(alone(stored, 1032, 100));
        // Persistent thread blocks compute three tiles each: more than they have buffers for sums.
        cases.push(alone(stored, 2048, 19_008));
        for tokens in [8, 9, 16] {
            cases.push(store(stored, 2048, 19_008, tokens));
        }
    }
    // The shapes of lm_head, which is never packed.
    for outputs in [160, 320, 1536, 2752] {
        cases.push(store(
            Stored::F16,
            if outputs == 160 { 1024 } else { 128 },
            outputs,
            2,
        ));
    }
    cases.push(store(Stored::F16, 6144, 107_008, 1));
    for grouping in [
        Grouping::Runs(32),
        Grouping::Runs(64),
        Grouping::Runs(96),
        Grouping::Runs(320),
        Grouping::Runs(ONE_GROUP),
        Grouping::Permuted(32),
        Grouping::Permuted(64),
        Grouping::Permuted(128),
        Grouping::Uneven(128),
    ] {
        for stored in [Stored::Int8(grouping), Stored::Int4(grouping)] {
            cases.push(store(stored, 384, 70, 1));
            cases.push(store(stored, 1000, 70, 9));
        }
    }
    cases.push(reports());
    cases
}

/// A linear layer on a GPU.
struct OnGpu<'a> {
    gpu: &'a Gpu,
    linear: GpuLinear,
    scratch: LinearScratch,
    flag: Buffer<u64>,
}

impl<'a> OnGpu<'a> {
    fn new(
        harness: &ParityHarness<'a>,
        weight: &LinearWeight,
        bias: &[f32],
    ) -> Result<Self, KernelError> {
        Ok(Self {
            gpu: harness.gpu,
            linear: harness.load(weight, Some(bias))?,
            scratch: LinearScratch::new(harness.gpu, MAX_DECODE_TOKENS, bias.len())?,
            flag: harness.gpu.upload(&[u64::MAX])?,
        })
    }

    /// Returns `x` of `n` tokens, which is in the order of the input permutation, in the order that
    /// the kernel for `n` tokens reads.
    fn arranged(&self, x: &[f32], n: usize) -> Vec<f32> {
        arranged(&self.linear, self.scratch.order(n), x.to_vec())
    }

    /// Returns the outputs of `n` tokens of `x`, which is arranged.
    fn run(&self, x: &Buffer<f16>, n: usize) -> Result<Vec<f32>, KernelError> {
        let out = self
            .gpu
            .upload(&vec![f32::NAN; n * self.linear.out_features()])?;
        let input = LinearInput {
            values: x,
            stride: self.linear.input_stride(),
            order: self.scratch.order(n),
        };
        self.gpu.linear_store(
            &self.linear,
            input,
            n,
            out.all(),
            NonFiniteCheck {
                flag: &self.flag,
                layer: 3,
            },
        )?;
        self.gpu.download(&out, out.len())
    }
}

fn store(stored: Stored, inputs: usize, outputs: usize, n: usize) -> Case {
    let shape = format!("{stored}, {inputs} to {outputs}, {n} token(s), bias");
    Case::new(
        stored.linear(),
        shape,
        Tolerance::sums(inputs),
        move |harness| {
            let weight = stored.weight(inputs, outputs, 1);
            let (x, bias) = (halves(n * inputs, 1.0, 2), noise(outputs, 1.0, 3));
            let expected = on_cpu(&weight, Some(&bias), &x)?;
            let linear = OnGpu::new(harness, &weight, &bias)?;
            let x_on_gpu = harness.halves(&linear.arranged(&permuted(&weight, &x), n))?;
            Ok(Prepared {
                expected,
                run: Box::new(move || linear.run(&x_on_gpu, n)),
            })
        },
    )
}

/// 64 tokens together have the same bits as each token alone.
fn alone(stored: Stored, inputs: usize, outputs: usize) -> Case {
    const N: usize = 64;
    let shape = format!("{stored}, {inputs} to {outputs}, {N} tokens together and each alone");
    Case::new(stored.linear(), shape, Tolerance::NONE, move |harness| {
        let weight = stored.weight(inputs, outputs, 4);
        let x = halves(N * inputs, 1.0, 5);
        let linear = OnGpu::new(harness, &weight, &noise(outputs, 1.0, 6))?;
        let mut expected = Vec::new();
        for row in x.chunks_exact(inputs) {
            expected.extend(linear.run(&harness.halves(&permuted(&weight, row))?, 1)?);
        }
        let together = harness.halves(&linear.arranged(&permuted(&weight, &x), N))?;
        Ok(Prepared {
            expected,
            run: Box::new(move || linear.run(&together, N)),
        })
    })
}

/// The first token with a non-finite value is reported, with its layer.
fn reports() -> Case {
    Case::new(
        "linear_f16",
        "an infinite input: layer, token",
        Tolerance::NONE,
        |harness| {
            let weight = Stored::F16.weight(128, 48, 7);
            let mut x = halves(9 * 128, 1.0, 8);
            x[5 * 128 + 7] = f32::INFINITY;
            x[8 * 128] = f32::INFINITY;
            let x_on_gpu = harness.halves(&permuted(&weight, &x))?;
            let linear = OnGpu::new(harness, &weight, &noise(48, 1.0, 9))?;
            let run = move || {
                linear.run(&x_on_gpu, 9)?;
                let flag = linear
                    .gpu
                    .download(&linear.flag, 1)?
                    .first()
                    .copied()
                    .unwrap_or(u64::MAX);
                Ok(vec![(flag >> 48) as f32, (flag >> 32 & 0xFFFF) as f32])
            };
            Ok(Prepared {
                expected: vec![3.0, 5.0],
                run: Box::new(run),
            })
        },
    )
}
