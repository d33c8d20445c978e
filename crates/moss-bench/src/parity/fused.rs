//! The two fused launches of a layer: [qkv_proj | fc_in] with rotary embedding, cache write and
//! GELU as its epilogue, and [out_proj | fc_out] with the residual sum. Here are the cases of the
//! decode (GEMV) kernels; `gemm.rs` has those of prefill.

use candle_core::{DType, Device, Tensor};
use half::f16;
use moss_cpu::ops;
use moss_cuda::{BLOCK_POSITIONS, Buffer, Gpu, LinearPair, NonFiniteCheck};
use moss_model::{BlockSpec, QkvPart};
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, halves, noise},
};

use super::{
    harness::{Case, ParityHarness, Prepared, widened},
    path::Path,
    residual_sum::ResidualSum,
    tolerance::Tolerance,
    weights::{ONE_GROUP, Stored, arranged, in_column_order, on_cpu, permuted},
};
use crate::fixture::{ForwardBuffers, Layer};

/// The shapes of the test checkpoints, and one whose heads are not multiples of 16 bytes.
pub(super) const SHAPES: [(&str, BlockSpec); 4] = [
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

pub(super) const ACT_ORDER: [Stored; 3] = [
    Stored::Int8(Grouping::Permuted(64)),
    Stored::Int4(Grouping::Permuted(64)),
    Stored::Int4(Grouping::Uneven(64)),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, spec) in SHAPES {
        for stored in Stored::PUBLISHED.into_iter().chain(ACT_ORDER) {
            for n in if name == "mini" {
                &[1usize, 2, 8, 9, 33, 64][..]
            } else {
                &[1, 7]
            } {
                cases.extend(layer(Path::Decode, name, spec, [stored; 4], *n));
            }
        }
    }
    let (name, spec) = SHAPES[0];
    for mixed in mixed_formats() {
        cases.extend(layer(Path::Decode, name, spec, mixed, 9));
    }
    for stored in Stored::PUBLISHED {
        cases.extend(layer(
            Path::Decode,
            "moon",
            BlockSpec::MOON_003,
            [stored; 4],
            1,
        ));
    }
    cases
}

/// Returns pairs of two formats, which are two launches.
pub(super) fn mixed_formats() -> [[Stored; 4]; 2] {
    let int4 = Stored::Int4(Grouping::Runs(ONE_GROUP));
    [
        [Stored::F16, int4, Stored::F16, int4],
        [int4, Stored::F16, int4, Stored::F16],
    ]
}

/// Returns the cases of both launches of a layer.
pub(super) fn layer(
    path: Path,
    name: &str,
    spec: BlockSpec,
    stored: [Stored; 4],
    n: usize,
) -> [Case; 2] {
    let (hidden, inner) = (spec.hidden_size(), spec.inner_size);
    let [qkv, fc_in, out_proj, fc_out] = stored;
    [
        heads(path, name, spec, hidden, [qkv, fc_in, fc_out], n),
        residual(path, name, ([hidden, inner], hidden), [out_proj, fc_out], n),
    ]
}

/// The weights of a layer on the host: qkv_proj, fc_in, out_proj, fc_out. The outputs of the last
/// two are not used; fc_out determines the order of its inputs.
pub(super) struct Weights {
    pub(super) linears: [LinearWeight; 4],
    fc_in_bias: Vec<f32>,
}

impl Weights {
    /// Creates weights of qkv_proj and fc_in with this number of inputs. `stored` are the formats
    /// of qkv_proj, fc_in and fc_out.
    pub(super) fn new(spec: BlockSpec, inputs: usize, stored: [Stored; 3]) -> Self {
        const UNUSED: usize = 16;
        let (hidden, inner) = (spec.hidden_size(), spec.inner_size);
        let [qkv, fc_in, fc_out] = stored;
        Self {
            linears: [
                qkv.weight(inputs, 3 * hidden, 31),
                fc_in.weight(inputs, inner, 32),
                Stored::F16.weight(hidden, UNUSED, 33),
                fc_out.weight(inner, UNUSED, 34),
            ],
            fc_in_bias: noise(inner, 1.0, 36),
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
            second: harness.load(fc_out, None)?,
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
fn expected_heads(
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
fn found_heads(gpu: &Gpu, layer: &Layer, pass: &ForwardBuffers) -> Result<Vec<f32>, KernelError> {
    let buffers = [&pass.q, layer.cache.keys(), layer.cache.values()];
    let mut found = Vec::new();
    for buffer in buffers {
        found.extend(widened(gpu, buffer)?);
    }
    let (fc_out, inner) = (&layer.outputs.second, widened(gpu, &pass.inner)?);
    found.extend(in_column_order(fc_out, pass.order(fc_out), inner));
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

/// Names the formats of a pair.
fn formats([first, second]: [Stored; 2]) -> String {
    if first == second {
        first.to_string()
    } else {
        format!("{first} and {second}")
    }
}

/// [qkv_proj | fc_in] with `inputs`. `stored` are the formats of qkv_proj, fc_in and fc_out.
pub(super) fn heads(
    path: Path,
    name: &str,
    spec: BlockSpec,
    inputs: usize,
    stored: [Stored; 3],
    n: usize,
) -> Case {
    let mut words = format!(
        "[qkv_proj | fc_in] of {name}: {}, {n} token(s)",
        formats([stored[0], stored[1]])
    );
    if stored[2] != stored[1] {
        words += &format!(", fc_out in {}", stored[2]);
    }
    let tolerance = Tolerance::sums_to_half(inputs);
    Case::new(path.kernel(stored[0]), words, tolerance, move |harness| {
        let weights = Weights::new(spec, inputs, stored);
        let (positions, slots, blocks) = rows(spec, n);
        let x = halves(n * inputs, 1.0, 38);
        let [qkv, fc_in, ..] = &weights.linears;
        let product = |weight| on_cpu(&path.multiplied(weight), None, &x);
        let products = (product(qkv)?, product(fc_in)?);
        let places = (&positions[..], &slots[..], blocks);
        let expected = expected_heads(spec, &weights, (&products.0, &products.1), places)?;

        let (gpu, layer) = (harness.gpu, weights.load(harness, spec, blocks)?);
        let mut pass = ForwardBuffers::new(gpu, spec, &layer, &positions, &slots)?;
        pass.is_prompt = path == Path::Prefill;
        pass.normed = normed(harness, &layer, &pass, [qkv, fc_in], &x)?;
        let run = move || {
            clear_heads(gpu, &layer, &pass)?;
            run_heads(path, gpu, &layer, &pass, n)?;
            found_heads(gpu, &layer, &pass)
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Copies an input to the GPU, as qkv_proj and fc_in read it.
pub(super) fn normed(
    harness: &ParityHarness<'_>,
    layer: &Layer,
    pass: &ForwardBuffers,
    weights: [&LinearWeight; 2],
    x: &[f32],
) -> Result<[Buffer<f16>; 2], KernelError> {
    let input =
        |linear, weight| harness.halves(&arranged(linear, pass.order(linear), permuted(weight, x)));
    let [qkv, fc_in] = weights;
    Ok([
        input(&layer.inputs.first, qkv)?,
        input(&layer.inputs.second, fc_in)?,
    ])
}

/// Launches [qkv_proj | fc_in].
pub(super) fn run_heads(
    path: Path,
    gpu: &Gpu,
    layer: &Layer,
    pass: &ForwardBuffers,
    n: usize,
) -> Result<(), KernelError> {
    let check = NonFiniteCheck {
        flag: &pass.flag,
        layer: 0,
    };
    let (x, epilogue) = (pass.normed(layer), pass.epilogue(layer));
    match path {
        Path::Decode => gpu
            .qkv_fc_in(&layer.inputs, x, n, &epilogue, check)
            .map(drop),
        Path::Prefill => gpu.prefill_qkv_fc_in(&layer.inputs, x, n, &epilogue, check),
    }
}

/// [out_proj | fc_out] with these numbers of inputs, to as many outputs.
pub(super) fn residual(
    path: Path,
    name: &str,
    (inputs, outputs): ([usize; 2], usize),
    stored: [Stored; 2],
    n: usize,
) -> Case {
    let words = format!(
        "[out_proj | fc_out] of {name}: {}, {n} token(s)",
        formats(stored)
    );
    let tolerance = Tolerance::sums(inputs[0] + inputs[1]);
    Case::new(path.kernel(stored[0]), words, tolerance, move |harness| {
        let layer = ResidualSum::new(harness, path, (inputs, outputs), stored, n)?;
        let x = inputs.map(|inputs| halves(n * inputs, 1.0, 39));
        let stream = noise(n * outputs, 1.0, 41);
        let products = [
            on_cpu(&path.multiplied(&layer.weights[0]), None, &x[0])?,
            on_cpu(
                &path.multiplied(&layer.weights[1]),
                Some(&layer.bias),
                &x[1],
            )?,
        ];
        let sums = stream.iter().zip(&products[0]).zip(&products[1]);
        let expected = sums
            .map(|((stream, first), second)| stream + first + second)
            .collect();
        let x = layer.inputs(harness, [&x[0], &x[1]])?;
        Ok(Prepared {
            expected,
            run: Box::new(move || layer.run(&x, &stream, n)),
        })
    })
}
