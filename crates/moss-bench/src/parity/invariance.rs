//! Rows of prefill do not depend on the number of tokens, bit for bit: rows of one large product,
//! and of products of a few of them alone.

use std::ops::Range;

use moss_cuda::{BLOCK_POSITIONS, Gpu};
use moss_model::BlockSpec;
use moss_weights::{
    KernelError,
    synthetic::{Grouping, halves, noise},
};

use super::{
    fused::{Weights, clear_heads, normed, rows, run_heads},
    gemm::spec_of,
    harness::{Case, ParityHarness, Prepared, widened},
    path::Path,
    residual_sum::ResidualSum,
    tolerance::Tolerance,
    weights::Stored,
};
use crate::fixture::{ForwardBuffers, Layer};

/// Tokens of the large product.
const N: usize = 512;

/// The tokens that are computed alone: 1, 7, 17, 32, 64, 65, 100, 128 and 300 of them.
const PARTS: [Range<usize>; 9] = [
    511..512,
    37..44,
    100..117,
    60..92,
    200..264,
    7..72,
    300..400,
    129..257,
    212..512,
];

pub(super) fn cases() -> Vec<Case> {
    let act_order = Stored::Int4(Grouping::Permuted(64));
    let mut cases = Vec::new();
    for stored in Stored::PUBLISHED.into_iter().chain([act_order]) {
        cases.push(sum([320, 1000], 400, [stored; 2]));
        cases.push(sum([64, 64], 16, [stored; 2]));
        cases.push(heads(spec_of((4, 20), 400), 1000, [stored; 2]));
    }
    for stored in Stored::PUBLISHED {
        cases.push(sum([6144, 24_576], 1000, [stored; 2]));
        cases.push(heads(spec_of((8, 256), 4000), 6144, [stored; 2]));
    }
    let [int8, int4] = [Stored::PUBLISHED[1], Stored::PUBLISHED[2]];
    for mixed in [[Stored::F16, int4], [int8, Stored::F16]] {
        cases.push(sum([320, 1000], 400, mixed));
        cases.push(heads(spec_of((4, 20), 400), 1000, mixed));
    }
    cases
}

fn words(what: &str, stored: [Stored; 2]) -> String {
    let [first, second] = stored;
    format!("{what}, {first} and {second}: rows of {N} tokens and fewer of them")
}

/// Returns the values of `rows`, of `len` values each.
fn part<'v>(values: &'v [f32], rows: &Range<usize>, len: usize) -> &'v [f32] {
    &values[rows.start * len..rows.end * len]
}

fn sum(inputs: [usize; 2], outputs: usize, stored: [Stored; 2]) -> Case {
    let what = format!("[out_proj | fc_out] {inputs:?} to {outputs}");
    let shape = words(&what, stored);
    Case::new(stored[0].gemm(), shape, Tolerance::NONE, move |harness| {
        let sum = ResidualSum::new(harness, Path::Prefill, (inputs, outputs), stored, N)?;
        let x = inputs.map(|inputs| halves(N * inputs, 1.0, 46));
        let stream = noise(N * outputs, 1.0, 47);
        let mut expected = Vec::new();
        for rows in &PARTS {
            let [attended, inner] = [0, 1].map(|at| part(&x[at], rows, inputs[at]));
            let few = sum.inputs(harness, [attended, inner])?;
            expected.extend(sum.run(&few, part(&stream, rows, outputs), rows.len())?);
        }
        let x = sum.inputs(harness, [&x[0], &x[1]])?;
        let run = move || {
            let all = sum.run(&x, &stream, N)?;
            let parts = PARTS.iter().map(|rows| part(&all, rows, outputs));
            Ok(parts.flatten().copied().collect())
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

fn heads(spec: BlockSpec, inputs: usize, stored: [Stored; 2]) -> Case {
    let (hidden, inner) = (spec.hidden_size(), spec.inner_size);
    let what = format!("[qkv_proj | fc_in] {inputs} to 3 * {hidden} and {inner}");
    let shape = words(&what, stored);
    Case::new(stored[0].gemm(), shape, Tolerance::NONE, move |harness| {
        let tokens = Tokens::new(harness, spec, inputs, stored)?;
        let mut expected = Vec::new();
        for rows in PARTS {
            let pass = tokens.pass(harness, rows.clone())?;
            expected.extend(tokens.run(&pass, rows)?.concat());
        }
        let pass = tokens.pass(harness, 0..N)?;
        let run = move || {
            let all = tokens.run(&pass, 0..N)?;
            Ok(PARTS
                .into_iter()
                .flat_map(|rows| all[rows].concat())
                .collect())
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// [qkv_proj | fc_in] and its input for [`N`] tokens.
struct Tokens<'a> {
    gpu: &'a Gpu,
    spec: BlockSpec,
    weights: Weights,
    layer: Layer,
    inputs: usize,
    x: Vec<f32>,
    positions: Vec<u32>,
    slots: Vec<u32>,
}

impl<'a> Tokens<'a> {
    fn new(
        harness: &ParityHarness<'a>,
        spec: BlockSpec,
        inputs: usize,
        [qkv, fc_in]: [Stored; 2],
    ) -> Result<Self, KernelError> {
        let weights = Weights::new(spec, inputs, [qkv, fc_in, fc_in]);
        let (positions, slots, blocks) = rows(spec, N);
        Ok(Self {
            gpu: harness.gpu,
            spec,
            layer: weights.load(harness, spec, blocks)?,
            weights,
            inputs,
            x: halves(N * inputs, 1.0, 48),
            positions,
            slots,
        })
    }

    /// Allocates the buffers of some tokens, with their inputs.
    fn pass(
        &self,
        harness: &ParityHarness<'_>,
        rows: Range<usize>,
    ) -> Result<ForwardBuffers, KernelError> {
        let x = part(&self.x, &rows, self.inputs);
        let [qkv, fc_in, ..] = &self.weights.linears;
        let (positions, slots) = (&self.positions[rows.clone()], &self.slots[rows]);
        let mut pass = ForwardBuffers::new(self.gpu, self.spec, &self.layer, positions, slots)?;
        pass.is_prompt = true;
        pass.normed = normed(harness, &self.layer, &pass, [qkv, fc_in], x)?;
        Ok(pass)
    }

    /// Returns query, key, value and input of fc_out of each token.
    fn run(&self, pass: &ForwardBuffers, rows: Range<usize>) -> Result<Vec<Vec<f32>>, KernelError> {
        let (gpu, cache) = (self.gpu, &self.layer.cache);
        clear_heads(gpu, &self.layer, pass)?;
        run_heads(Path::Prefill, gpu, &self.layer, pass, rows.len())?;
        let (q, inner) = (widened(gpu, &pass.q)?, widened(gpu, &pass.inner)?);
        let (keys, values) = (widened(gpu, cache.keys())?, widened(gpu, cache.values())?);
        let (heads, stride) = (self.spec.num_heads, self.spec.head_layout().stride());
        let inner_stride = self.layer.outputs.second.input_stride();
        let token = |(at, slot): (usize, &u32)| {
            let (block, offset) = (
                *slot as usize / BLOCK_POSITIONS,
                *slot as usize % BLOCK_POSITIONS,
            );
            let of_head = |head| ((block * heads + head) * BLOCK_POSITIONS + offset) * stride;
            let mut found = q[at * heads * stride..][..heads * stride].to_vec();
            for head in 0..heads {
                found.extend(&keys[of_head(head)..][..stride]);
                found.extend(&values[of_head(head)..][..stride]);
            }
            found.extend(&inner[at * inner_stride..][..inner_stride]);
            found
        };
        Ok(self.slots[rows].iter().enumerate().map(token).collect())
    }
}
