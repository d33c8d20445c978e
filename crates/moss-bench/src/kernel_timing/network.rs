//! What each kernel of a decode step or of a prompt takes by itself, at the published model's
//! sizes, beside the whole.
//!
//! Every layer has weights and a cache of its own, made up on the card. So a kernel that runs over
//! all layers in turn finds nothing of its weights in the second-level cache, as in a step. The
//! kernels of a step are timed as a step runs them, recorded as a graph.

use std::cell::RefCell;

use half::f16;
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, DecodeRows, DecodeScratch, DeviceTopK, Gpu, GpuLinear, Graph,
    LinearInput, LinearPair, NormWeights, PANEL_VALUES, PREFILL_TILE, PrefillTiles, Product,
    ProductScratch, Watch,
};
use moss_model::{BlockSpec, LinearKind, LinearShape, MossConfig};
use moss_sampling::TopKRequest;
use moss_weights::{GptqBits, KernelError, Rule, synthetic::noise};

use super::{
    KernelTimes,
    parts::{AFTER, BEFORE, PROMPT, Part, STEP},
};
use crate::fixture::{ForwardBuffers, Layer, norm};

pub(super) const SPEC: BlockSpec = BlockSpec::MOON_003;
pub(super) const VOCABULARY: usize = MossConfig::moon_003().vocab_size;

/// Ids that a history may have: the window's.
pub(super) const HISTORY: usize = SPEC.context_length;

/// KernelTimes that something is measured; the median counts.
const SAMPLES: usize = 9;

/// Starts of a graph between two looks at the clock: the first of them waits for the host.
const STARTS: usize = 8;

/// A network of synthetic weights on a card.
pub(super) struct KernelTiming<'a> {
    gpu: &'a Gpu,
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

/// The buffers of a pass of `rows` rows at the end of `context` positions.
pub(super) struct Buffers {
    pass: ForwardBuffers,
    pub(super) rows: usize,
    pub(super) context: usize,
    ids: Buffer<u32>,
    table: Buffer<u32>,
    tiles: Buffer<u32>,
    scratch: DecodeScratch,
    product: Buffer<f16>,
    products: ProductScratch,
    final_normed: Buffer<f16>,
    last_row: Buffer<u32>,
    logits: Buffer<f32>,
    top_k: RefCell<DeviceTopK>,
}

impl<'a> KernelTiming<'a> {
    /// `layers` layers in f16 or packed, with a cache of `positions` each, and the head.
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
            // The published heads fill their stride.
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

    /// A step of one sequence whose new token is the last of `context` positions.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for more positions than the cache holds;
    /// [`KernelError::OutOfMemory`]; [`KernelError::Driver`].
    pub(super) fn step(&self, context: usize) -> Result<KernelTimes, KernelError> {
        let b = self.buffers(1, context)?;
        let total = self.recorded(|| self.all(&b, &STEP), 1)?;
        let mut kernels = Vec::new();
        for part in [&BEFORE[..], &STEP, &AFTER].concat() {
            // What runs once is repeated, too, but for the head, which takes long enough.
            let runs = if part == Part::LmHead {
                2
            } else {
                self.layers.len().max(32)
            };
            let seconds = self.recorded(|| self.repeat(&b, part, runs), runs)?;
            kernels.push(self.described(&b, part, seconds));
        }
        Ok(KernelTimes {
            kernels,
            seconds: total,
        })
    }

    /// A prompt of `rows` tokens, with the logits of the last.
    ///
    /// # Errors
    /// As for [`KernelTiming::step`].
    pub(super) fn prompt(&self, rows: usize) -> Result<KernelTimes, KernelError> {
        let b = self.buffers(rows, rows)?;
        let total = self.launched(|| self.all(&b, &PROMPT), 1)?;
        let mut kernels = Vec::new();
        for part in [&BEFORE[..], &PROMPT, &AFTER].concat() {
            let runs = self.layers.len().max(8);
            let seconds = self.launched(|| self.repeat(&b, part, runs), runs)?;
            kernels.push(self.described(&b, part, seconds));
        }
        Ok(KernelTimes {
            kernels,
            seconds: total,
        })
    }

    fn buffers(&self, rows: usize, context: usize) -> Result<Buffers, KernelError> {
        let gpu = self.gpu;
        let hidden = SPEC.hidden_size();
        let held = self
            .layers
            .first()
            .map_or(0, |layer| layer.cache.num_blocks() * BLOCK_POSITIONS);
        if !(rows..=held).contains(&context) {
            return Err(KernelError::Argument {
                op: "timing",
                arg: "context",
                found: context,
                rule: Rule::Between(rows, held),
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
        let positions = numbers(context - rows..context);
        let mut tiles = Vec::new();
        for first in (0..rows).step_by(PREFILL_TILE) {
            tiles.extend(
                [
                    0,
                    first,
                    PREFILL_TILE.min(rows - first),
                    context - rows + first,
                ]
                .map(|n| n as u32),
            );
        }
        Ok(Buffers {
            // Blocks in order: a position is its own slot.
            pass: ForwardBuffers::new(gpu, SPEC, layer, &positions, &positions)?,
            rows,
            context,
            ids: gpu.upload(&numbers(1000..1000 + rows))?,
            table: gpu.upload(&numbers(0..layer.cache.num_blocks()))?,
            tiles: gpu.upload(&tiles)?,
            scratch: DecodeScratch::new(gpu, 1, held, SPEC.head_layout())?,
            product: gpu.zeros(if rows > 1 {
                rows * SPEC.inner_size.max(3 * hidden)
            } else {
                0
            })?,
            products: ProductScratch::new(gpu, if rows > 1 { PANEL_VALUES } else { 0 })?,
            final_normed: gpu.zeros(hidden)?,
            last_row: gpu.upload(&[rows as u32 - 1])?,
            logits: gpu.upload(&noise(VOCABULARY, 6.0, 2))?,
            top_k: RefCell::new(top_k(gpu)?),
        })
    }

    /// Everything, in the order of the network.
    fn all(&self, b: &Buffers, of_layer: &[Part]) -> Result<(), KernelError> {
        BEFORE
            .iter()
            .try_for_each(|part| self.repeat(b, *part, 1))?;
        for layer in &self.layers {
            of_layer
                .iter()
                .try_for_each(|part| self.run(b, *part, layer))?;
        }
        AFTER.iter().try_for_each(|part| self.repeat(b, *part, 1))
    }

    /// One part, over the layers in turn.
    fn repeat(&self, b: &Buffers, part: Part, times: usize) -> Result<(), KernelError> {
        self.layers
            .iter()
            .cycle()
            .take(times)
            .try_for_each(|layer| self.run(b, part, layer))
    }

    fn run(&self, b: &Buffers, part: Part, layer: &Layer) -> Result<(), KernelError> {
        let (gpu, pass, n) = (self.gpu, &b.pass, b.rows);
        let watch = Watch {
            flag: &pass.flag,
            layer: 0,
        };
        let LinearPair {
            first: qkv,
            second: fc_in,
        } = &layer.inputs;
        let LinearPair {
            first: out_proj,
            second: fc_out,
        } = &layer.outputs;
        // Nothing is act-order here: both products read what the norm wrote once.
        let [h, _] = pass.normed(layer);
        let [attended, inner] = pass.ready(layer);
        let last = LinearInput {
            values: &b.final_normed,
            stride: self.lm_head.input_stride(),
        };
        let product =
            |linear: &GpuLinear, x, to: Product<'_>| gpu.matmul(linear, x, n, to, &b.products);
        let sum = Product::Add(&pass.stream, SPEC.hidden_size());
        let place = |linear: &GpuLinear, is_inner| {
            let to = pass.targets(layer);
            gpu.heads_and_inner(
                &b.product,
                linear.out_features(),
                is_inner,
                n,
                (qkv, fc_in),
                &to,
            )
        };
        match part {
            Part::UploadTopK => gpu.copy_runs(&b.top_k.borrow_mut().upload(1)?),
            Part::Embedding => {
                let table = self.lm_head.dense_rows()?;
                gpu.embedding(
                    table,
                    b.ids.all(),
                    SPEC.hidden_size(),
                    n,
                    &pass.stream,
                    Some(&pass.flag),
                )
            }
            Part::Norm => gpu.layer_norm(&pass.stream, None, n, &layer.norm, &[(h, qkv)]),
            Part::Heads => gpu.linear_heads(&layer.inputs, [h, h], n, &pass.targets(layer), watch),
            Part::Residual => {
                gpu.linear_residual(&layer.outputs, [attended, inner], n, &pass.stream, watch)
            }
            Part::Attention => self.attend(b, layer),
            Part::QkvProduct => product(qkv, h, Product::Store(&b.product, qkv.out_features())),
            Part::InnerProduct => {
                product(fc_in, h, Product::Store(&b.product, fc_in.out_features()))
            }
            Part::PlaceHeads => place(qkv, false),
            Part::PlaceInner => place(fc_in, true),
            Part::OutProduct => product(out_proj, attended, sum),
            Part::FcOutProduct => product(fc_out, inner, sum),
            Part::Close => gpu.close_layer(&pass.stream, fc_out, n, watch),
            Part::FinalNorm => {
                let row = Some(b.last_row.all());
                gpu.layer_norm(
                    &pass.stream,
                    row,
                    1,
                    &self.final_norm,
                    &[(last, &self.lm_head)],
                )
            }
            Part::LmHead => gpu.linear_store(&self.lm_head, last, 1, b.logits.all(), watch),
            Part::TopK => gpu.top_k(b.logits.all(), 1, &b.top_k.borrow()),
            Part::DownloadTopK => gpu.copy_runs(&[b.top_k.borrow_mut().download(1)?]),
        }
    }

    fn attend(&self, b: &Buffers, layer: &Layer) -> Result<(), KernelError> {
        let (pass, layout) = (&b.pass, SPEC.head_layout());
        let [attended, _] = pass.ready(layer);
        let (tables, max_blocks) = (b.table.all(), b.table.len());
        let out = (attended, &layer.outputs.first);
        if b.rows == 1 {
            let positions = pass.positions.all();
            let rows = DecodeRows {
                tables,
                max_blocks,
                rows: None,
                positions,
                count: 1,
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
            .attention_prefill(&pass.q, &layer.cache, tiles, b.rows, out, layout)
    }

    /// Seconds of each of `runs` that `what` makes, recorded as a graph.
    fn recorded(
        &self,
        what: impl Fn() -> Result<(), KernelError>,
        runs: usize,
    ) -> Result<f64, KernelError> {
        let mut graph = Graph::record(self.gpu.recorder(), what)?;
        median(|| {
            let seconds = self
                .gpu
                .time(|| (0..STARTS).try_for_each(|_| graph.launch()))?;
            Ok(seconds / (STARTS * runs) as f64)
        })
    }

    /// The same, started one by one: many rows keep the card busy for longer than a start takes.
    fn launched(
        &self,
        what: impl Fn() -> Result<(), KernelError>,
        runs: usize,
    ) -> Result<f64, KernelError> {
        median(|| Ok(self.gpu.time(&what)? / runs as f64))
    }
}

/// One row with a request as for a chat.
fn top_k(gpu: &Gpu) -> Result<DeviceTopK, KernelError> {
    let none = KernelError::Argument {
        op: "timing",
        arg: "vocab",
        found: VOCABULARY,
        rule: Rule::Fewer,
    };
    let mut top_k = DeviceTopK::new(gpu, 1, VOCABULARY, HISTORY)?.ok_or(none)?;
    let history: Vec<u32> = (0..600).collect();
    top_k.stage(&[Some(TopKRequest {
        history: &history,
        repetition_penalty: 1.02,
        temperature: 0.7,
        top_k: 40,
        allowed: VOCABULARY,
    })])?;
    Ok(top_k)
}

/// The median of several measurements, after two that do not count.
fn median(mut measure: impl FnMut() -> Result<f64, KernelError>) -> Result<f64, KernelError> {
    measure()?;
    measure()?;
    let mut times = (0..SAMPLES)
        .map(|_| measure())
        .collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(SAMPLES / 2).copied().unwrap_or(f64::NAN))
}
