//! `linear_{f16,int8,int4}` alone: every number of rows that has its own kernel, and every way in
//! which inputs, outputs and groups fill no whole block.

use half::f16;
use moss_cuda::{Buffer, Gpu, GpuLinear, LinearInput, Watch};
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, halves, noise},
};

use super::harness::{
    Case, ONE_GROUP, ParityHarness, Prepared, Stored, Tolerance, on_cpu, permuted,
};

/// Rows at which another kernel, or another part of its tiles, begins.
const ROWS: [usize; 8] = [1, 2, 7, 8, 9, 16, 33, 64];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for stored in Stored::PUBLISHED {
        for rows in ROWS {
            cases.push(store(stored, 200, 33, rows));
            cases.push(store(stored, 1024, 48, rows));
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
        // Less than a tile of outputs or a block of inputs; one more than a whole number of them;
        // warps with unequal shares.
        for (inputs, outputs) in [(8, 5), (64, 16), (72, 17), (1032, 31), (4104, 65)] {
            cases.push(store(stored, inputs, outputs, 1));
            cases.push(store(stored, inputs, outputs, 3));
        }
        cases.push(alone(stored, 1032, 100));
    }
    // The heads, which are never packed.
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

/// A layer with its input and output on a card.
struct Rows<'a> {
    gpu: &'a Gpu,
    linear: GpuLinear,
    flag: Buffer<u64>,
}

impl<'a> Rows<'a> {
    fn new(
        harness: &ParityHarness<'a>,
        weight: &LinearWeight,
        bias: &[f32],
    ) -> Result<Self, KernelError> {
        Ok(Self {
            gpu: harness.gpu,
            linear: harness.load(weight, Some(bias))?,
            flag: harness.gpu.upload(&[u64::MAX])?,
        })
    }

    /// The outputs for `n` rows of `x`, which stand at their places.
    fn run(&self, x: &Buffer<f16>, n: usize) -> Result<Vec<f32>, KernelError> {
        let out = self
            .gpu
            .upload(&vec![f32::NAN; n * self.linear.out_features()])?;
        let input = LinearInput {
            values: x,
            stride: self.linear.input_stride(),
        };
        self.gpu.linear_store(
            &self.linear,
            input,
            n,
            out.all(),
            Watch {
                flag: &self.flag,
                layer: 3,
            },
        )?;
        self.gpu.download(&out, out.len())
    }
}

fn store(stored: Stored, inputs: usize, outputs: usize, n: usize) -> Case {
    let shape = format!("{stored}, {inputs} to {outputs}, {n} row(s), bias");
    Case::new(
        stored.linear(),
        shape,
        Tolerance::sums(inputs),
        move |harness| {
            let weight = stored.weight(inputs, outputs, 1);
            let (x, bias) = (halves(n * inputs, 1.0, 2), noise(outputs, 1.0, 3));
            let expected = on_cpu(&weight, Some(&bias), &x)?;
            let on_card = harness.halves(&permuted(&weight, &x))?;
            let rows = Rows::new(harness, &weight, &bias)?;
            Ok(Prepared {
                expected,
                run: Box::new(move || rows.run(&on_card, n)),
            })
        },
    )
}

/// Sixty-four rows together give each row's bits alone.
fn alone(stored: Stored, inputs: usize, outputs: usize) -> Case {
    const N: usize = 64;
    let shape = format!("{stored}, {inputs} to {outputs}, {N} rows together and each alone");
    Case::new(stored.linear(), shape, Tolerance::NONE, move |harness| {
        let weight = stored.weight(inputs, outputs, 4);
        let x = halves(N * inputs, 1.0, 5);
        let rows = Rows::new(harness, &weight, &noise(outputs, 1.0, 6))?;
        let mut expected = Vec::new();
        for row in x.chunks_exact(inputs) {
            expected.extend(rows.run(&harness.halves(&permuted(&weight, row))?, 1)?);
        }
        let together = harness.halves(&permuted(&weight, &x))?;
        Ok(Prepared {
            expected,
            run: Box::new(move || rows.run(&together, N)),
        })
    })
}

/// A value that is not finite is reported with its layer and row: the first row where there are
/// several.
fn reports() -> Case {
    Case::new(
        "linear_f16",
        "an input that is inf: layer, row",
        Tolerance::NONE,
        |harness| {
            let weight = Stored::F16.weight(128, 48, 7);
            let mut x = halves(9 * 128, 1.0, 8);
            x[5 * 128 + 7] = f32::INFINITY;
            x[8 * 128] = f32::INFINITY;
            let on_card = harness.halves(&permuted(&weight, &x))?;
            let rows = Rows::new(harness, &weight, &noise(48, 1.0, 9))?;
            let run = move || {
                rows.run(&on_card, 9)?;
                let flag = rows
                    .gpu
                    .download(&rows.flag, 1)?
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
