//! The buffers of a micro-batch, allocated once.

use candle_core::Tensor;
use half::f16;
use moss_cuda::{
    Buffer, CopyRun, DecodeRows, DecodeScratch, DenseWeight, GemmScratch, Gpu, GpuLinear,
    HeadLayout, InputOrder, KernelError, KvBlocks, KvFormat, LinearInput, LinearPair,
    LinearScratch, NO_SLOT, Pinned, PrefillTiles, Rule, View,
};

use super::non_finite::NonFiniteFlag;
use crate::{
    CacheShape, KvCacheType, LoadOptions, MossConfig, TokenKind,
    micro_batch::{MAX_BATCH_TOKENS, MicroBatch},
};

/// Micro-batches whose inputs may be in flight to the GPU at the same time.
const BATCHES_AHEAD: usize = 8;

/// The linear layers of one layer, which determine the sizes of the buffers.
pub(super) struct LayerLinears<'a> {
    /// qkv_proj and fc_in.
    pub(super) inputs: &'a LinearPair,
    /// out_proj and fc_out.
    pub(super) outputs: &'a LinearPair,
}

/// Activations of a micro-batch of up to [`MAX_BATCH_TOKENS`] tokens.
#[derive(Debug)]
pub(super) struct Workspace {
    /// The residual stream, `[tokens, hidden]`.
    pub(super) stream: Buffer<f32>,
    /// `[tokens, heads, stride]`
    pub(super) q: Buffer<f16>,
    /// For an 8-bit cache, the keys and values of the micro-batch before they are rounded; token `i`
    /// is in slot `i`.
    pub(super) unrounded: Option<KvBlocks>,
    pub(super) gemm: GemmScratch,
    linear: LinearScratch,
    pub(super) non_finite: NonFiniteFlag,
    pub(super) scratch: DecodeScratch,
    normed: [Buffer<f16>; 2],
    attended: Buffer<f16>,
    inner: Buffer<f16>,
    embedding: Option<(Buffer<f16>, Pinned<f16>)>,
    /// Ids, positions and slots of the tokens, tokens whose logits are needed, block tables, tiles;
    /// at the end 0, 1, 2, …
    inputs: Buffer<u32>,
    staged: Vec<Pinned<u32>>,
    /// The inputs of a decode step, whose copy is captured in a CUDA graph.
    staged_step: Pinned<u32>,
    next_staged: usize,
    /// Hidden states from the host.
    staged_stream: Pinned<f32>,
    max_blocks: usize,
    /// Tokens of a tile of prefill attention.
    tile: usize,
    layout: Layout,
}

/// The layout of the current micro-batch in `inputs`, after three numbers per token and the tokens
/// whose logits are needed.
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    tables_at: usize,
    tiles_at: usize,
    end: usize,
    /// Number of block tables: one per generated token, or one per sequence of prompt tokens.
    tables: usize,
    tiles: usize,
}

/// Allocates keys and values of [`MAX_BATCH_TOKENS`] tokens. What the epilogue does not write, the
/// padding of the heads, is zero.
fn unrounded(gpu: &Gpu, layout: HeadLayout) -> Result<KvBlocks, KernelError> {
    let blocks = MAX_BATCH_TOKENS.div_ceil(CacheShape::BLOCK_SIZE);
    let block_size = CacheShape::BLOCK_SIZE;
    let mut cache = KvBlocks::new(gpu, blocks, block_size, layout, KvFormat::F16)?;
    cache.ensure_mapped(gpu, blocks)?;
    Ok(cache)
}

impl Workspace {
    pub(super) fn new(
        gpu: &Gpu,
        config: &MossConfig,
        layers: &[LayerLinears<'_>],
        embedding_on_host: bool,
        options: &LoadOptions,
    ) -> Result<Self, KernelError> {
        let widest =
            |pick: &dyn Fn(&LayerLinears<'_>) -> usize| layers.iter().map(pick).max().unwrap_or(0);
        let halves = |stride: usize| gpu.zeros::<f16>(MAX_BATCH_TOKENS * stride);
        let (hidden, decode_rows) = (config.hidden_size, options.decode_rows());
        let outputs = config.vocab_size.max(3 * hidden + config.inner_size);
        let layout = config.block().head_layout();
        let max_blocks = config.context_length.div_ceil(CacheShape::BLOCK_SIZE);
        // Three numbers per token, its number if its logits are needed, and at most one block table
        // and one tile per token.
        let rows = MAX_BATCH_TOKENS * (4 + max_blocks + 4) + 8;
        let mut numbers = vec![0u32; rows];
        numbers.extend(0..MAX_BATCH_TOKENS as u32);
        let shares =
            |layer: &LayerLinears<'_>| layer.inputs.first.shares_input(&layer.inputs.second);
        let embedding = if embedding_on_host {
            Some((halves(hidden)?, gpu.pinned(MAX_BATCH_TOKENS * hidden)?))
        } else {
            None
        };
        let unrounded = match options.kv_cache {
            KvCacheType::Native => None,
            KvCacheType::Int8 => Some(unrounded(gpu, layout)?),
        };
        Ok(Self {
            unrounded,
            stream: gpu.zeros(MAX_BATCH_TOKENS * hidden)?,
            q: halves(layout.num_heads * layout.stride())?,
            gemm: GemmScratch::new(gpu, hidden, MAX_BATCH_TOKENS)?,
            linear: LinearScratch::new(gpu, decode_rows, outputs)?,
            non_finite: NonFiniteFlag::new(gpu)?,
            scratch: DecodeScratch::new(gpu, decode_rows, config.context_length, layout)?,
            normed: [
                halves(widest(&|layer| layer.inputs.first.input_stride()))?,
                halves(widest(&|layer| {
                    if shares(layer) {
                        0
                    } else {
                        layer.inputs.second.input_stride()
                    }
                }))?,
            ],
            attended: halves(widest(&|layer| layer.outputs.first.input_stride()))?,
            inner: halves(widest(&|layer| layer.outputs.second.input_stride()))?,
            embedding,
            inputs: gpu.upload(&numbers)?,
            staged: (0..BATCHES_AHEAD)
                .map(|_| gpu.pinned(rows))
                .collect::<Result<_, _>>()?,
            staged_step: gpu.pinned_for_graphs(rows)?,
            next_staged: 0,
            staged_stream: gpu.pinned(MAX_BATCH_TOKENS * hidden)?,
            max_blocks,
            tile: gpu.prefill_tile(),
            layout: Layout::default(),
        })
    }

    /// Writes the inputs of a micro-batch to host memory and enqueues their copy to the GPU. If
    /// `step_rows` is the number of rows of a captured decode step, [`Workspace::step_inputs`]
    /// copies them.
    ///
    /// A padding row is the first token again, at position 0 of its sequence, without a slot in the
    /// cache. It attends to one position and stores no keys and values, so it costs almost nothing
    /// and changes nothing.
    pub(super) fn put(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        step_rows: Option<usize>,
    ) -> Result<(), KernelError> {
        let n = step_rows.unwrap_or(batch.len());
        // Block tables and tiles are aligned to 16 bytes.
        let tables_at = (3 * n + batch.wanted.len().max(n)).next_multiple_of(4);
        let table_count = match batch.kind {
            TokenKind::Generated => n,
            TokenKind::Prompt => batch.sequences.len(),
        };
        let tiles_at = (tables_at + table_count * self.max_blocks).next_multiple_of(4);
        let staged = if step_rows.is_some() {
            &mut self.staged_step
        } else {
            self.next_staged = (self.next_staged + 1) % BATCHES_AHEAD;
            &mut self.staged[self.next_staged]
        };
        let numbers = staged.as_mut_slice()?;
        let padding_id = batch.token_ids().first().copied().unwrap_or(0);
        let parts = [
            (batch.token_ids(), padding_id),
            (batch.positions(), 0),
            (batch.slots(), NO_SLOT),
            (&batch.wanted, 0),
        ];
        for (place, (part, padding)) in numbers.chunks_mut(n).zip(parts) {
            let (used, rest) = place.split_at_mut(part.len());
            used.copy_from_slice(part);
            rest.fill(padding);
        }
        let (tables, tiles) = numbers[tables_at..].split_at_mut(tiles_at - tables_at);
        let first_blocks = batch.sequences.first().map(|rows| rows.blocks);
        if let (Some(_), Some([first, ..])) = (step_rows, first_blocks) {
            let places = tables.chunks_mut(self.max_blocks).skip(batch.len());
            places
                .take(n - batch.len())
                .for_each(|place| place[0] = *first);
        }
        let mut count = 0;
        for (sequence, rows) in batch.sequences.iter().enumerate() {
            let used = &rows.blocks[..rows.blocks.len().min(self.max_blocks)];
            // Decode attention has one query per block table.
            if batch.kind == TokenKind::Generated {
                let places = tables.chunks_mut(self.max_blocks).skip(rows.first_row);
                places
                    .take(rows.num_rows)
                    .for_each(|place| place[..used.len()].copy_from_slice(used));
                continue;
            }
            tables[sequence * self.max_blocks..][..used.len()].copy_from_slice(used);
            for done in (0..rows.num_rows).step_by(self.tile) {
                let tile_rows = self.tile.min(rows.num_rows - done);
                let tile = [
                    sequence,
                    rows.first_row + done,
                    tile_rows,
                    rows.start_pos + done,
                ];
                tiles[4 * count..][..4].copy_from_slice(&tile.map(|number| number as u32));
                count += 1;
            }
        }
        let end = tiles_at + 4 * count;
        self.layout = Layout {
            tables_at,
            tiles_at,
            end,
            tables: table_count,
            tiles: count,
        };
        if step_rows.is_some() {
            Ok(())
        } else {
            staged.copy_to(&self.inputs, 0, end)
        }
    }

    /// Returns the copy of the inputs of a decode step to the GPU. Their layout depends on the
    /// number of rows only.
    pub(super) fn step_inputs(&mut self) -> Result<CopyRun<'_>, KernelError> {
        self.staged_step.run_to(&self.inputs, 0, self.layout.end)
    }

    /// Enqueues the copy of hidden states, `[tokens, hidden]` f32, from the host, followed by zeros
    /// up to `len` values.
    pub(super) fn put_stream(&mut self, x: &Tensor, len: usize) -> Result<(), KernelError> {
        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let staged = self.staged_stream.as_mut_slice()?;
        let room = staged.len();
        let place = staged
            .get_mut(..len)
            .filter(|_| values.len() <= len)
            .ok_or_else(|| KernelError::Argument {
                op: "stage transfer",
                arg: "values",
                found: values.len(),
                rule: Rule::AtMost(room.min(len)),
            })?;
        let (used, rest) = place.split_at_mut(values.len());
        used.copy_from_slice(&values);
        rest.fill(0.0);
        self.staged_stream.copy_to(&self.stream, 0, len)
    }

    /// Enqueues the copy of the embedding rows of `ids` from host memory; padding up to `rows` rows
    /// repeats the first.
    pub(super) fn put_embedding(
        &mut self,
        ids: &[u32],
        rows: usize,
        table: &DenseWeight,
    ) -> Result<(), KernelError> {
        let Some((device, staged)) = &mut self.embedding else {
            return Ok(());
        };
        let hidden = table.in_features;
        let row_bytes = hidden * table.dtype.bytes();
        let padding = ids
            .first()
            .into_iter()
            .cycle()
            .take(rows.saturating_sub(ids.len()));
        let places = staged.as_mut_slice()?.chunks_exact_mut(hidden);
        for (row, id) in places.zip(ids.iter().chain(padding)) {
            let from = &table.data[*id as usize * row_bytes..][..row_bytes];
            table.dtype.to_f16(from, row);
        }
        staged.copy_to(device, 0, rows * hidden)
    }

    /// Returns the rows that [`Workspace::put_embedding`] copied.
    pub(super) fn embedding_rows(&self) -> Result<&Buffer<f16>, KernelError> {
        let missing = KernelError::Argument {
            op: "embedding",
            arg: "table",
            found: 0,
            rule: Rule::OnDevice,
        };
        self.embedding
            .as_ref()
            .map(|(device, _)| device)
            .ok_or(missing)
    }

    pub(super) fn ids(&self, n: usize) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(0, n)
    }

    pub(super) fn positions(&self, n: usize) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(n, n)
    }

    pub(super) fn slots(&self, n: usize) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(2 * n, n)
    }

    /// Returns 0, 1, 2, …
    pub(super) fn row_numbers(&self, n: usize) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(self.inputs.len() - MAX_BATCH_TOKENS, n)
    }

    /// Returns the tokens `first..first + count` of those whose logits are needed, in a micro-batch
    /// of `n` tokens.
    pub(super) fn wanted(
        &self,
        n: usize,
        first: usize,
        count: usize,
    ) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(3 * n + first, count)
    }

    /// Returns the `n` tokens of a micro-batch of generated tokens, each with its block table.
    pub(super) fn decode_rows(&self, n: usize) -> Result<DecodeRows<'_>, KernelError> {
        let tables = self
            .inputs
            .view(self.layout.tables_at, n * self.max_blocks)?;
        Ok(DecodeRows {
            tables,
            max_blocks: self.max_blocks,
            positions: self.positions(n)?,
            count: n,
        })
    }

    /// Returns the sequences of a micro-batch of prompt tokens, in tiles.
    pub(super) fn prefill_tiles(&self) -> Result<PrefillTiles<'_>, KernelError> {
        let Layout {
            tables_at,
            tiles_at,
            tables,
            tiles,
            ..
        } = self.layout;
        Ok(PrefillTiles {
            tables: self.inputs.view(tables_at, tables * self.max_blocks)?,
            max_blocks: self.max_blocks,
            tiles: self.inputs.view(tiles_at, 4 * tiles)?,
            count: tiles,
        })
    }

    /// Returns the order of the inputs of a linear layer for `n` tokens of a kind.
    pub(super) fn order(&self, linear: &GpuLinear, n: usize, kind: TokenKind) -> InputOrder<'_> {
        match kind {
            TokenKind::Generated => self.linear.order(n),
            TokenKind::Prompt => linear.prompt_order(),
        }
    }

    pub(super) fn normed<'a>(
        &'a self,
        which: usize,
        linear: &GpuLinear,
        order: InputOrder<'a>,
    ) -> LinearInput<'a> {
        LinearInput {
            values: &self.normed[which],
            stride: linear.input_stride(),
            order,
        }
    }

    pub(super) fn attended<'a>(
        &'a self,
        out_proj: &GpuLinear,
        order: InputOrder<'a>,
    ) -> LinearInput<'a> {
        LinearInput {
            values: &self.attended,
            stride: out_proj.input_stride(),
            order,
        }
    }

    pub(super) fn inner<'a>(
        &'a self,
        fc_out: &GpuLinear,
        order: InputOrder<'a>,
    ) -> LinearInput<'a> {
        LinearInput {
            values: &self.inner,
            stride: fc_out.input_stride(),
            order,
        }
    }
}
