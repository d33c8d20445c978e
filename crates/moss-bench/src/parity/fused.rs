//! The two fused launches of a layer: [qkv_proj | fc_in] with rotary embedding, cache write and
//! GELU as its epilogue, and [out_proj | fc_out] with the residual sum.

use candle_core::{DType, Device, Tensor};
use moss_cpu::ops;
use moss_cuda::{BLOCK_POSITIONS, CompleteInput, Gpu, LinearPair, NonFiniteCheck};
use moss_model::{BlockSpec, QkvPart};
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, halves, noise},
};

use super::{
    harness::{Case, ParityHarness, Prepared, widened},
    tolerance::Tolerance,
    weights::{ONE_GROUP, Stored, on_cpu, permuted},
};
use crate::fixture::{ForwardBuffers, Layer};

/// The shapes of the test checkpoints, and one whose heads are not multiples of 16 bytes.
const SHAPES: [(&str, BlockSpec); 4] = [
    (
        "mini",
        BlockSpec {
            num_heads: 4,
            head_dim: 32,
            inner_size: 384,
            rotary_dim: 16,
            context_length: 256,
            ..BlockSpec::MOON_003
        },
    ),
    (
        "tiny",
        BlockSpec {
            num_heads: 8,
            head_dim: 16,
            inner_size: 512,
            rotary_dim: 8,
            context_length: 256,
            ..BlockSpec::MOON_003
        },
    ),
    (
        "wide",
        BlockSpec {
            num_heads: 4,
            head_dim: 256,
            inner_size: 128,
            rotary_dim: 64,
            context_length: 512,
            ..BlockSpec::MOON_003
        },
    ),
    (
        "odd",
        BlockSpec {
            num_heads: 4,
            head_dim: 20,
            inner_size: 104,
            rotary_dim: 6,
            context_length: 100,
            ..BlockSpec::MOON_003
        },
    ),
];

const ACT_ORDER: Grouping = Grouping::Permuted(64);

pub(super) fn cases() -> Vec<Case> {
    let act_order = [
        Stored::Int8(ACT_ORDER),
        Stored::Int4(ACT_ORDER),
        Stored::Int4(Grouping::Uneven(64)),
    ];
    let mut cases = Vec::new();
    for (name, spec) in SHAPES {
        for stored in Stored::PUBLISHED.into_iter().chain(act_order) {
            for n in if name == "mini" {
                &[1usize, 2, 8, 9, 33, 64][..]
            } else {
                &[1, 7]
            } {
                cases.push(heads(name, spec, [stored; 4], *n));
                cases.push(residual(name, spec, [stored; 4], *n));
            }
        }
    }
    // Pairs of two formats are two launches.
    let (name, spec) = SHAPES[0];
    let int4 = Stored::Int4(Grouping::Runs(ONE_GROUP));
    for mixed in [
        [Stored::F16, int4, Stored::F16, int4],
        [int4, Stored::F16, int4, Stored::F16],
    ] {
        cases.push(heads(name, spec, mixed, 9));
        cases.push(residual(name, spec, mixed, 9));
    }
    for stored in Stored::PUBLISHED {
        cases.push(heads("moon", BlockSpec::MOON_003, [stored; 4], 1));
        cases.push(residual("moon", BlockSpec::MOON_003, [stored; 4], 1));
    }
    cases
}

/// The weights of a layer on the host: qkv_proj, fc_in, out_proj, fc_out.
pub(super) struct Weights {
    pub(super) linears: [LinearWeight; 4],
    pub(super) fc_in_bias: Vec<f32>,
    fc_out_bias: Vec<f32>,
}

impl Weights {
    pub(super) fn new(spec: BlockSpec, stored: [Stored; 4]) -> Self {
        let (hidden, inner) = (spec.hidden_size(), spec.inner_size);
        let linears = spec.linears();
        let make = |at: usize| {
            let (_, shape) = linears[at];
            stored[at].weight(shape.in_features, shape.out_features, 31 + at as u32)
        };
        Self {
            linears: [make(0), make(1), make(2), make(3)],
            fc_in_bias: noise(inner, 1.0, 36),
            fc_out_bias: noise(hidden, 1.0, 37),
        }
    }

    /// Copies the weights to the GPU.
    pub(super) fn load(
        &self,
        harness: &ParityHarness<'_>,
        spec: BlockSpec,
        blocks: usize,
    ) -> Result<Layer, KernelError> {
        let [qkv, fc_in, out_proj, fc_out] = &self.linears;
        let inputs = LinearPair {
            first: harness.load(qkv, None)?,
            second: harness.load(fc_in, Some(&self.fc_in_bias))?,
        };
        let outputs = LinearPair {
            first: harness.load(out_proj, None)?,
            second: harness.load(fc_out, Some(&self.fc_out_bias))?,
        };
        Layer::new(harness.gpu, spec, inputs, outputs, blocks)
    }
}

/// Returns positions of `n` tokens, spread over the context length, their slots, spread over a
/// cache, and the blocks of the cache.
pub(super) fn rows(spec: BlockSpec, n: usize) -> (Vec<u32>, Vec<u32>, usize) {
    let blocks = n.div_ceil(BLOCK_POSITIONS) + 2;
    let positions = (0..n)
        .map(|row| ((row * 89 + spec.context_length - 1) % spec.context_length) as u32)
        .collect();
    // Coprime with the number of slots, so that all slots differ.
    let slots = blocks * BLOCK_POSITIONS;
    let step = if slots.is_multiple_of(7) { 11 } else { 7 };
    (
        positions,
        (0..n)
            .map(|row| ((row * step + 5) % slots) as u32)
            .collect(),
        blocks,
    )
}

/// Computes the queries, keys, values and inputs of fc_out from the products `qkv` `[n, 3 hidden]`
/// and `inner` `[n, inner]` (without bias).
pub(super) fn expected_heads(
    spec: BlockSpec,
    weights: &Weights,
    (qkv, inner): (&[f32], &[f32]),
    (positions, slots, blocks): (&[u32], &[u32], usize),
) -> Result<Vec<f32>, KernelError> {
    let BlockSpec {
        num_heads,
        head_dim,
        ..
    } = spec;
    let (n, heads) = (positions.len(), spec.head_layout());
    let (shards, stride) = (heads.shards, heads.stride());
    let slabs = Tensor::from_slice(
        qkv,
        (n, shards, 3, num_heads / shards, head_dim),
        &Device::Cpu,
    )?;
    let part = |part: QkvPart| {
        slabs
            .narrow(2, part as usize, 1)?
            .contiguous()?
            .reshape((n, num_heads, head_dim))
    };
    let rope = ops::RopeTable::new(
        spec.rotary_dim,
        spec.context_length,
        Default::default(),
        &Device::Cpu,
    )?;
    let flat = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
    let q = flat(ops::rotary(&part(QkvPart::Query)?, &rope, positions)?)?;
    let keys = flat(ops::rotary(&part(QkvPart::Key)?, &rope, positions)?)?;
    let values = flat(part(QkvPart::Value)?)?;

    let mut found = vec![0.0; n * num_heads * stride];
    for (to, from) in found.chunks_exact_mut(stride).zip(q.chunks_exact(head_dim)) {
        to[..head_dim].copy_from_slice(from);
    }
    for from in [keys, values] {
        let mut cache = vec![0.0; blocks * num_heads * BLOCK_POSITIONS * stride];
        for (at, from) in from.chunks_exact(head_dim).enumerate() {
            let (slot, head) = (slots[at / num_heads] as usize, at % num_heads);
            let (block, offset) = (slot / BLOCK_POSITIONS, slot % BLOCK_POSITIONS);
            let line = (block * num_heads + head) * BLOCK_POSITIONS + offset;
            cache[line * stride..][..head_dim].copy_from_slice(from);
        }
        found.append(&mut cache);
    }
    let with_bias = inner
        .iter()
        .zip(weights.fc_in_bias.iter().cycle())
        .map(|(x, bias)| x + bias);
    let with_bias = Tensor::from_iter(with_bias, &Device::Cpu)?;
    found.extend(permuted(
        &weights.linears[3],
        &flat(ops::gelu_tanh(&with_bias, DType::F32)?)?,
    ));
    Ok(found)
}

/// Returns the values of [`expected_heads`] on the GPU.
pub(super) fn found_heads(
    gpu: &Gpu,
    layer: &Layer,
    pass: &ForwardBuffers,
) -> Result<Vec<f32>, KernelError> {
    let buffers = [
        &pass.q,
        layer.cache.keys(),
        layer.cache.values(),
        &pass.inner,
    ];
    let mut found = Vec::new();
    for buffer in buffers {
        found.extend(widened(gpu, buffer)?);
    }
    Ok(found)
}

/// Clears the buffers that [`found_heads`] reads.
pub(super) fn clear_heads(
    gpu: &Gpu,
    layer: &Layer,
    pass: &ForwardBuffers,
) -> Result<(), KernelError> {
    [
        &pass.q,
        layer.cache.keys(),
        layer.cache.values(),
        &pass.inner,
    ]
    .into_iter()
    .try_for_each(|b| gpu.clear(b))
}

fn words(stored: [Stored; 4], n: usize) -> String {
    let format = match stored[0] == stored[1] {
        true => stored[0].to_string(),
        false => format!("{} and {}", stored[0], stored[1]),
    };
    format!("{format}, {n} token(s)")
}

fn heads(name: &str, spec: BlockSpec, stored: [Stored; 4], n: usize) -> Case {
    let words = format!("[qkv_proj | fc_in] of {name}: {}", words(stored, n));
    Case::new(
        stored[0].linear(),
        words,
        Tolerance::sums_to_half(spec.hidden_size()),
        move |harness| {
            let weights = Weights::new(spec, stored);
            let (positions, slots, blocks) = rows(spec, n);
            let x = halves(n * spec.hidden_size(), 1.0, 38);
            let [qkv, fc_in, ..] = &weights.linears;
            let products = (on_cpu(qkv, None, &x)?, on_cpu(fc_in, None, &x)?);
            let places = (&positions[..], &slots[..], blocks);
            let expected = expected_heads(spec, &weights, (&products.0, &products.1), places)?;

            let (gpu, layer) = (harness.gpu, weights.load(harness, spec, blocks)?);
            let mut pass = ForwardBuffers::new(gpu, spec, &layer, &positions, &slots)?;
            pass.normed = [
                harness.halves(&permuted(qkv, &x))?,
                harness.halves(&permuted(fc_in, &x))?,
            ];
            let run = move || {
                clear_heads(gpu, &layer, &pass)?;
                let check = NonFiniteCheck {
                    flag: &pass.flag,
                    layer: 0,
                };
                let epilogue = pass.epilogue(&layer);
                gpu.qkv_fc_in(&layer.inputs, pass.normed(&layer), n, &epilogue, check)?;
                found_heads(gpu, &layer, &pass)
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

fn residual(name: &str, spec: BlockSpec, stored: [Stored; 4], n: usize) -> Case {
    let (hidden, inner) = (spec.hidden_size(), spec.inner_size);
    let words = format!(
        "[out_proj | fc_out] of {name}: {}",
        words([stored[2], stored[3], stored[2], stored[3]], n)
    );
    Case::new(
        stored[2].linear(),
        words,
        Tolerance::sums(hidden + inner),
        move |harness| {
            let weights = Weights::new(spec, stored);
            let (positions, slots, blocks) = rows(spec, n);
            let x = [halves(n * hidden, 1.0, 39), halves(n * inner, 1.0, 40)];
            let stream = noise(n * hidden, 1.0, 41);
            let [.., out_proj, fc_out] = &weights.linears;
            let products = [
                on_cpu(out_proj, None, &x[0])?,
                on_cpu(fc_out, Some(&weights.fc_out_bias), &x[1])?,
            ];
            let sums = stream.iter().zip(&products[0]).zip(&products[1]);
            let expected = sums
                .map(|((stream, first), second)| stream + first + second)
                .collect();

            let (gpu, layer) = (harness.gpu, weights.load(harness, spec, blocks)?);
            let mut pass = ForwardBuffers::new(gpu, spec, &layer, &positions, &slots)?;
            pass.attended = harness.halves(&permuted(out_proj, &x[0]))?;
            pass.inner = harness.halves(&permuted(fc_out, &x[1]))?;
            let run = move || {
                let sum = gpu.upload(&stream)?;
                let check = NonFiniteCheck {
                    flag: &pass.flag,
                    layer: 0,
                };
                let [attended, inner] = pass.output_inputs(&layer);
                let inner = CompleteInput::synchronize(gpu, inner)?;
                gpu.out_fc_out(&layer.outputs, attended, &inner, n, &sum, check)?;
                gpu.download(&sum, sum.len())
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}
