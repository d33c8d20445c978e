//! A network of synthetic weights at the sizes of the published model.
//!
//! Every layer has separate weights and a separate cache. A kernel that runs over all layers finds
//! none of its weights in the L2 cache, as in a decode step.

use std::cell::RefCell;

use half::f16;
use moss_cuda::{
    AttentionLaunch, BLOCK_POSITIONS, Buffer, CompleteInput, DecodeRows, DecodeScratch,
    DeviceSampler, FcOutInput, GemmScratch, Gpu, GpuLinear, LinearPair, LinearScratch,
    NonFiniteCheck, NormWeights, PrefillTiles,
};
use moss_model::{BlockSpec, LinearKind, LinearShape, MossConfig};
use moss_sampling::{Sampler, SamplingParams};
use moss_weights::{GptqBits, KernelError, Rule, synthetic::noise};

use super::{
    parts::{AFTER, BEFORE, Part},
    tokens::Tokens,
};
use crate::fixture::{ForwardBuffers, Layer, norm};

pub(super) const SPEC: BlockSpec = BlockSpec::MOON_003;
pub(super) const VOCABULARY: usize = MossConfig::moon_003().vocab_size;

/// Maximum number of ids of a history: the context length.
const HISTORY: usize = SPEC.context_length;

/// A network of synthetic weights on a GPU.
pub(super) struct KernelTiming<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) layers: Vec<Layer>,
    final_norm: NormWeights,
    pub(super) lm_head: GpuLinear,
}

impl std::fmt::Debug for KernelTiming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelTiming")
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

/// The buffers of a forward batch.
pub(super) struct Buffers {
    pass: ForwardBuffers,
    pub(super) tokens: Tokens,
    ids: Buffer<u32>,
    /// `[sequences, blocks]`
    tables: Buffer<u32>,
    tiles: Buffer<u32>,
    scratch: DecodeScratch,
    gemm: GemmScratch,
    final_normed: Buffer<f16>,
    /// The tokens that pass through lm_head.
    last_rows: Buffer<u32>,
    logits: Buffer<f32>,
    sampler: RefCell<DeviceSampler>,
}

/// The state of the input of fc_out between the parts of a step.
pub(super) enum FcOutState<'b> {
    /// No kernel of a step has written it.
    Unknown,
    /// [qkv_proj | fc_in] writes it.
    Written(FcOutInput<'b>),
    /// Attention has followed, or the host has waited.
    Complete(CompleteInput<'b>),
}

impl<'a> KernelTiming<'a> {
    /// Creates `layers` layers in f16 or packed, each with a cache of `positions`, and the head.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub(super) fn new(
        gpu: &'a Gpu,
        bits: Option<GptqBits>,
        layers: usize,
        positions: usize,
    ) -> Result<Self, KernelError> {
        let hidden = SPEC.hidden_size();
        let blocks = positions.div_ceil(BLOCK_POSITIONS);
        let cached: Vec<f16> = noise(blocks * BLOCK_POSITIONS * hidden, 1.0, 1)
            .into_iter()
            .map(f16::from_f32)
            .collect();
        let layer = |number: usize| -> Result<Layer, KernelError> {
            let linear = |kind: LinearKind, seed: u32| {
                let LinearShape {
                    in_features,
                    out_features,
                    has_bias,
                } = SPEC.linear(kind);
                let bias = has_bias.then(|| vec![0.01; out_features]);
                let (bias, seed) = (bias.as_deref(), 8 * number as u32 + seed);
                GpuLinear::random(gpu, bits, in_features, out_features, bias, seed)
            };
            let inputs = LinearPair {
                first: linear(LinearKind::QkvProj, 0)?,
                second: linear(LinearKind::FcIn, 1)?,
            };
            let outputs = LinearPair {
                first: linear(LinearKind::OutProj, 2)?,
                second: linear(LinearKind::FcOut, 3)?,
            };
            let mut layer = Layer::new(gpu, SPEC, inputs, outputs, blocks)?;
            // The heads of the published model need no padding.
            let contents = || gpu.upload(&cached);
            layer.cache.set_contents(contents()?, contents()?)?;
            Ok(layer)
        };
        let bias = vec![0.01; VOCABULARY];
        Ok(Self {
            gpu,
            layers: (0..layers).map(layer).collect::<Result<_, _>>()?,
            final_norm: norm(gpu, hidden)?,
            lm_head: GpuLinear::random(gpu, None, hidden, VOCABULARY, Some(&bias), u32::MAX)?,
        })
    }

    /// Allocates the buffers.
    pub(super) fn buffers(&self, tokens: Tokens) -> Result<Buffers, KernelError> {
        let gpu = self.gpu;
        let (rows, outputs) = (tokens.rows(), tokens.outputs());
        let capacity = self
            .layers
            .first()
            .map_or(0, |layer| layer.cache.num_blocks());
        let blocks = outputs * tokens.blocks();
        if !(outputs..=capacity).contains(&blocks) {
            return Err(KernelError::Argument {
                op: "timing",
                arg: "cache blocks",
                found: blocks,
                rule: Rule::Between(outputs, capacity),
            });
        }
        let Some(layer) = self.layers.first() else {
            return Err(KernelError::Argument {
                op: "timing",
                arg: "layers",
                found: 0,
                rule: Rule::AtLeast(1),
            });
        };
        let numbers = |range: std::ops::Range<usize>| range.map(|n| n as u32).collect::<Vec<_>>();
        let (mut tiles, tile) = (Vec::new(), gpu.prefill_tile());
        for first in (0..rows).step_by(tile) {
            tiles.extend([0, first, tile.min(rows - first), first].map(|n| n as u32));
        }
        let mut pass = ForwardBuffers::new(gpu, SPEC, layer, &tokens.positions(), &tokens.slots())?;
        if let Tokens::Generated { rows, .. } = tokens {
            pass.linear = Some((LinearScratch::new(gpu, rows, VOCABULARY)?, rows));
        } else {
            pass.is_prompt = true;
        }
        let layout = SPEC.head_layout();
        Ok(Buffers {
            pass,
            tokens,
            ids: gpu.upload(&numbers(1000..1000 + rows))?,
            tables: gpu.upload(&numbers(0..blocks))?,
            tiles: gpu.upload(&tiles)?,
            scratch: DecodeScratch::new(gpu, outputs, tokens.context(), layout)?,
            gemm: GemmScratch::new(gpu, SPEC.hidden_size(), rows)?,
            final_normed: gpu.zeros(outputs * self.lm_head.input_stride())?,
            last_rows: gpu.upload(&numbers(rows - outputs..rows))?,
            logits: gpu.upload(&noise(outputs * VOCABULARY, 6.0, 2))?,
            sampler: RefCell::new(sampler(gpu, outputs)?),
        })
    }

    /// Runs all parts in the order of the network.
    pub(super) fn all(&self, b: &Buffers, of_layer: &[Part]) -> Result<(), KernelError> {
        let once = |part: &Part| self.repeat(b, *part, 1, FcOutState::Unknown);
        BEFORE.iter().try_for_each(once)?;
        for layer in &self.layers {
            let mut inner = FcOutState::Unknown;
            for part in of_layer {
                inner = self.run(b, *part, layer, inner)?;
            }
        }
        AFTER.iter().try_for_each(once)
    }

    /// Runs one part `times` times, over the layers in turn.
    pub(super) fn repeat<'b>(
        &'b self,
        b: &'b Buffers,
        part: Part,
        times: usize,
        mut inner: FcOutState<'b>,
    ) -> Result<(), KernelError> {
        for layer in self.layers.iter().cycle().take(times) {
            inner = self.run(b, part, layer, inner)?;
        }
        Ok(())
    }

    /// Waits for the GPU, after which the input of fc_out is complete.
    pub(super) fn complete_fc_out_input<'b>(
        &self,
        b: &'b Buffers,
    ) -> Result<FcOutState<'b>, KernelError> {
        let Some(layer) = self.layers.first() else {
            return Ok(FcOutState::Unknown);
        };
        let [_, inner] = b.pass.output_inputs(layer);
        CompleteInput::synchronize(self.gpu, inner).map(FcOutState::Complete)
    }

    /// Runs one part of `layer`. Returns the state of the input of fc_out after it.
    fn run<'b>(
        &'b self,
        b: &'b Buffers,
        part: Part,
        layer: &'b Layer,
        state: FcOutState<'b>,
    ) -> Result<FcOutState<'b>, KernelError> {
        let (gpu, pass) = (self.gpu, &b.pass);
        let (n, outputs) = (b.tokens.rows(), b.tokens.outputs());
        let check = NonFiniteCheck {
            flag: &pass.flag,
            layer: 0,
        };
        // No layer is act-order: both products read the same input.
        let [h, _] = pass.normed(layer);
        let [attended, inner] = pass.output_inputs(layer);
        let last = pass.input(&b.final_normed, &self.lm_head);
        match part {
            Part::UploadRequest => gpu.batched_memcpy(&b.sampler.borrow_mut().upload(outputs)?)?,
            Part::Embedding => {
                let (table, hidden) = (self.lm_head.dense_rows()?, SPEC.hidden_size());
                let flag = Some(&pass.flag);
                gpu.embedding(table, b.ids.all(), hidden, n, &pass.stream, flag)?;
            }
            Part::Norm => gpu.layer_norm(
                &pass.stream,
                None,
                n,
                &layer.norm,
                &[(h, &layer.inputs.first)],
            )?,
            Part::QkvFcIn => {
                let to = pass.epilogue(layer);
                let inner = gpu.qkv_fc_in(&layer.inputs, [h, h], n, &to, check)?;
                return Ok(FcOutState::Written(inner));
            }
            Part::Attention => match state {
                FcOutState::Written(inner) => {
                    let inner = inner.then_attention(|| self.attend(b, layer))?;
                    return Ok(FcOutState::Complete(inner));
                }
                _ => {
                    self.attend(b, layer)?;
                }
            },
            Part::OutFcOut => {
                let FcOutState::Complete(inner) = &state else {
                    return Err(KernelError::Argument {
                        op: "timing",
                        arg: "complete inputs of fc_out",
                        found: 0,
                        rule: Rule::AtLeast(1),
                    });
                };
                gpu.out_fc_out(&layer.outputs, attended, inner, n, &pass.stream, check)?;
            }
            Part::PrefillQkvFcIn => {
                let to = pass.epilogue(layer);
                gpu.prefill_qkv_fc_in(&layer.inputs, [h, h], n, &to, check)?;
            }
            Part::PrefillOutFcOut => {
                let (pair, stream) = (&layer.outputs, &pass.stream);
                gpu.prefill_out_fc_out(pair, attended, inner, n, stream, check, &b.gemm)?;
            }
            Part::FinalNorm => {
                let (rows, to) = (Some(b.last_rows.all()), [(last, &self.lm_head)]);
                gpu.layer_norm(&pass.stream, rows, outputs, &self.final_norm, &to)?;
            }
            Part::LmHead => {
                gpu.linear_store(&self.lm_head, last, outputs, b.logits.all(), check)?;
            }
            Part::Sampling => gpu.sample(b.logits.all(), outputs, &b.sampler.borrow())?,
            Part::DownloadToken => {
                gpu.batched_memcpy(&[b.sampler.borrow_mut().download(outputs)?])?
            }
        }
        Ok(state)
    }

    fn attend(&self, b: &Buffers, layer: &Layer) -> Result<AttentionLaunch, KernelError> {
        let (pass, layout) = (&b.pass, SPEC.head_layout());
        let [attended, _] = pass.output_inputs(layer);
        let (tables, max_blocks) = (b.tables.all(), b.tokens.blocks());
        let out = (attended, &layer.outputs.first);
        if let Tokens::Generated { rows, .. } = b.tokens {
            let positions = pass.positions.all();
            let rows = DecodeRows {
                tables,
                max_blocks,
                positions,
                count: rows,
            };
            return self
                .gpu
                .attention_decode(&pass.q, &layer.cache, rows, &b.scratch, out, layout);
        }
        let tiles = PrefillTiles {
            tables,
            max_blocks,
            tiles: b.tiles.all(),
            count: b.tiles.len() / 4,
        };
        self.gpu
            .attention_prefill(&pass.q, &layer.cache, tiles, b.tokens.rows(), out, layout)
    }
}

/// Returns the buffers of sampling with `rows` requests with the settings of a chat.
fn sampler(gpu: &Gpu, rows: usize) -> Result<DeviceSampler, KernelError> {
    let none = KernelError::Argument {
        op: "timing",
        arg: "vocab",
        found: VOCABULARY,
        rule: Rule::Fewer,
    };
    let mut sampler = DeviceSampler::new(gpu, rows, VOCABULARY, HISTORY)?.ok_or(none)?;
    let history: Vec<u32> = (0..600).collect();
    let chat = Sampler::new(SamplingParams::CHAT).ok();
    let request = chat
        .as_ref()
        .and_then(|chat| chat.request(&history, 0, VOCABULARY));
    sampler.stage(&vec![request; rows])?;
    Ok(sampler)
}
