//! The matrix products of prefill (GEMM): repacked and dequantized weights, products over whole
//! weights and over panels, and their epilogues.

use half::f16;
use moss_cuda::{
    BLOCK, Buffer, Gpu, GpuLinear, InputPermutation, LinearInput, PANEL_VALUES, Product,
    ProductScratch, QkvOrFcIn, TILE,
};
use moss_model::BlockSpec;
use moss_weights::{
    DenseDtype, DenseWeight, GptqWeight, KernelError, LinearWeight, Rule,
    synthetic::{Grouping, halves, noise, unpacked},
};

use super::{
    fused::{Weights, clear_heads, expected_heads, found_heads, rows},
    harness::{Case, ParityHarness, Prepared, widened},
    tolerance::{HALF_STEP, Tolerance},
    weights::{Stored, on_cpu, permuted},
};
use crate::fixture::ForwardBuffers;

/// The tolerance of a product in f32, whose order of sums cuBLAS chooses.
fn library_sums(inputs: usize) -> Tolerance {
    Tolerance {
        allowed: (64.0 + inputs as f64 / 4.0) * f64::from(f32::EPSILON),
        reason: "cuBLAS: f32 sums in another order, truncated after each step: 2^-23 times (64 + inputs / 4)",
    }
}

const STORED: Tolerance = Tolerance {
    allowed: 8.0 * HALF_STEP,
    reason: "cuBLAS may round partial sums to f16 before it adds them: half a step of 2^-10 each, of values that may exceed the sum",
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for grouping in [
        Grouping::Runs(128),
        Grouping::Runs(64),
        Grouping::Runs(96),
        Grouping::Permuted(128),
        Grouping::Permuted(32),
        Grouping::Uneven(128),
    ] {
        for stored in [Stored::Int8(grouping), Stored::Int4(grouping)] {
            for (inputs, outputs) in [(128, 384), (384, 128), (1000, 70), (64, 16), (40, 5)] {
                cases.push(unpacks(
                    stored,
                    inputs,
                    outputs,
                    (0, usize::MAX),
                    (0, usize::MAX),
                ));
            }
            cases.push(unpacks(stored, 1000, 70, (1, 3), (2, 5)));
            cases.push(product(stored, 384, 70, 65, false));
            cases.push(product(stored, 384, 72, 65, true));
        }
    }
    for stored in Stored::PUBLISHED {
        cases.push(product(stored, 128, 512, 130, false));
        cases.push(product(stored, 1024, 3072, 65, false));
        cases.push(product(stored, 200, 33, 66, true));
        // More than one panel: split over the outputs if the product is stored, over the inputs if
        // it is added.
        cases.push(product(stored, 6144, 2400, 65, false));
        cases.push(product(stored, 2504, 6144, 65, true));
    }
    let odd = BlockSpec {
        num_heads: 4,
        head_dim: 20,
        inner_size: 103,
        rotary_dim: 6,
        context_length: 100,
        ..BlockSpec::MOON_003
    };
    let mini = BlockSpec {
        num_heads: 4,
        head_dim: 32,
        inner_size: 384,
        rotary_dim: 16,
        context_length: 256,
        ..BlockSpec::MOON_003
    };
    for (name, spec, stored) in [
        ("odd", odd, Stored::F16),
        ("mini", mini, Stored::F16),
        ("mini", mini, Stored::Int4(Grouping::Permuted(64))),
        ("moon", BlockSpec::MOON_003, Stored::F16),
    ] {
        cases.push(qkv_rope_gelu(
            name,
            spec,
            stored,
            if name == "moon" { 3 } else { 65 },
        ));
    }
    cases
}

/// A repacked weight is dequantized exactly. `tiles` and `blocks` are the first one and their
/// number.
fn unpacks(
    stored: Stored,
    inputs: usize,
    outputs: usize,
    (first_tile, tiles): (usize, usize),
    (first_block, blocks): (usize, usize),
) -> Case {
    let part = if tiles == usize::MAX { "" } else { ", a part" };
    let shape = format!("{stored}, {inputs} to {outputs}{part}");
    Case::new(
        "repack, dequantize",
        shape,
        Tolerance::NONE,
        move |harness| {
            let LinearWeight::Gptq(weight) = stored.weight(inputs, outputs, 61) else {
                return Err(KernelError::Argument {
                    op: "dequantize",
                    arg: "bits",
                    found: 16,
                    rule: Rule::OneOf(4, 8),
                });
            };
            let linear = harness.load(&LinearWeight::Gptq(weight.clone()), None)?;
            let tiles = tiles.min(linear.tiles() - first_tile);
            let blocks = blocks.min(linear.blocks() - first_block);
            let panel = Panel {
                first_tile,
                tiles,
                first_block,
                blocks,
                column: columns_of(&weight),
            };
            let values = unpacked(&weight);
            let expected = panel
                .inside(outputs)
                .map(|(output, input, _)| values[output * inputs + input].to_f32())
                .collect();
            let gpu = harness.gpu;
            let run = move || {
                let out = gpu.zeros::<f16>(tiles * TILE * blocks * BLOCK)?;
                gpu.dequantize(&linear, (first_tile, tiles), (first_block, blocks), &out)?;
                let dense = widened(gpu, &out)?;
                Ok(panel.inside(outputs).map(|(_, _, at)| dense[at]).collect())
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

/// Returns the column of each input.
fn columns_of(weight: &GptqWeight) -> Vec<usize> {
    match InputPermutation::of(weight).scatter(weight.in_features) {
        Some(scatter) => scatter.iter().map(|column| *column as usize).collect(),
        None => (0..weight.in_features).collect(),
    }
}

struct Panel {
    first_tile: usize,
    tiles: usize,
    first_block: usize,
    blocks: usize,
    column: Vec<usize>,
}

impl Panel {
    /// Returns output, input and index within the panel of each of its weights.
    fn inside(&self, outputs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let rows = self.first_tile * TILE..outputs.min((self.first_tile + self.tiles) * TILE);
        let columns = self.first_block * BLOCK..(self.first_block + self.blocks) * BLOCK;
        rows.flat_map(move |output| {
            let (row, first) = (
                (output - self.first_tile * TILE) * self.blocks * BLOCK,
                columns.start,
            );
            let columns = columns.clone();
            let inside = self
                .column
                .iter()
                .enumerate()
                .filter(move |(_, column)| columns.contains(column));
            inside.map(move |(input, column)| (output, input, row + column - first))
        })
    }
}

/// Returns the dense weight that is multiplied: a packed one is rounded to f16.
fn as_multiplied(weight: &LinearWeight) -> LinearWeight {
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

fn product(stored: Stored, inputs: usize, outputs: usize, n: usize, added: bool) -> Case {
    let verb = if added { "added" } else { "stored" };
    let shape = format!("{stored}, {inputs} to {outputs}, {n} tokens, {verb}");
    let tolerance = if added { library_sums(inputs) } else { STORED };
    Case::new("dequantize, cuBLAS", shape, tolerance, move |harness| {
        let weight = stored.weight(inputs, outputs, 62);
        let x = halves(n * inputs, 1.0, 63);
        let before = if added {
            noise(n * outputs, 1.0, 64)
        } else {
            vec![0.0; n * outputs]
        };
        let products = on_cpu(&as_multiplied(&weight), None, &x)?;
        let expected = products
            .iter()
            .zip(&before)
            .map(|(product, before)| product + before)
            .collect();
        let job = Job {
            gpu: harness.gpu,
            linear: harness.load(&weight, None)?,
            x: harness.halves(&permuted(&weight, &x))?,
            scratch: ProductScratch::new(
                harness.gpu,
                PANEL_VALUES.max(TILE * inputs.next_multiple_of(BLOCK)),
            )?,
            n,
        };
        let run = move || if added { job.add(&before) } else { job.store() };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

struct Job<'a> {
    gpu: &'a Gpu,
    linear: GpuLinear,
    x: Buffer<f16>,
    scratch: ProductScratch,
    n: usize,
}

impl Job<'_> {
    fn run(&self, product: Product<'_>) -> Result<(), KernelError> {
        let x = LinearInput {
            values: &self.x,
            stride: self.linear.input_stride(),
        };
        self.gpu
            .matmul(&self.linear, x, self.n, product, &self.scratch)
    }

    fn store(&self) -> Result<Vec<f32>, KernelError> {
        let outputs = self.linear.out_features();
        let stride = outputs.next_multiple_of(8);
        let y = self.gpu.zeros(self.n * stride)?;
        self.run(Product::Store(&y, stride))?;
        let rows = widened(self.gpu, &y)?;
        Ok(rows
            .chunks_exact(stride)
            .flat_map(|row| &row[..outputs])
            .copied()
            .collect())
    }

    fn add(&self, before: &[f32]) -> Result<Vec<f32>, KernelError> {
        let sum = self.gpu.upload(before)?;
        self.run(Product::Add(&sum, self.linear.out_features()))?;
        self.gpu.download(&sum, sum.len())
    }
}

/// `stored` is fc_out's format, which says where its inputs stand.
fn qkv_rope_gelu(name: &str, spec: BlockSpec, stored: Stored, n: usize) -> Case {
    let words = format!("{name}, {n} tokens, fc_out in {stored}");
    Case::new("heads_and_inner", words, Tolerance::HALF, move |harness| {
        let weights = Weights::new(spec, [Stored::F16, Stored::F16, Stored::F16, stored]);
        let (positions, slots, blocks) = rows(spec, n);
        let (qkv, inner) = (3 * spec.hidden_size(), spec.inner_size);
        let products = (halves(n * qkv, 1.0, 65), halves(n * inner, 1.0, 66));
        let places = (&positions[..], &slots[..], blocks);
        let expected = expected_heads(spec, &weights, (&products.0, &products.1), places)?;

        let (gpu, layer) = (harness.gpu, weights.load(harness, spec, blocks)?);
        let pass = ForwardBuffers::new(gpu, spec, &layer, &positions, &slots)?;
        let y = [
            strided(harness, &products.0, qkv)?,
            strided(harness, &products.1, inner)?,
        ];
        let run = move || {
            clear_heads(gpu, &layer, &pass)?;
            let linears = (&layer.inputs.first, &layer.inputs.second);
            let to = pass.epilogue(&layer);
            let [qkv, inner] = [qkv, inner].map(|outputs| outputs.next_multiple_of(8));
            gpu.qkv_rope_gelu((&y[0], qkv), QkvOrFcIn::Qkv, n, linears, &to)?;
            gpu.qkv_rope_gelu((&y[1], inner), QkvOrFcIn::FcIn, n, linears, &to)?;
            found_heads(gpu, &layer, &pass)
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Copies rows to the GPU with a stride that is a multiple of 8, as [`Gpu::matmul`] stores them.
fn strided(
    harness: &ParityHarness<'_>,
    values: &[f32],
    columns: usize,
) -> Result<Buffer<f16>, KernelError> {
    let stride = columns.next_multiple_of(8);
    let mut rows = vec![0.0; values.len() / columns * stride];
    for (to, from) in rows
        .chunks_exact_mut(stride)
        .zip(values.chunks_exact(columns))
    {
        to[..columns].copy_from_slice(from);
    }
    harness.halves(&rows)
}
