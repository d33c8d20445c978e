//! The buffers of a pass, taken once.

use candle_core::Tensor;
use half::f16;
use moss_cuda::{
    Buffer, CopyRun, DecodeRows, DecodeScratch, DenseWeight, Gpu, GpuLinear, KernelError,
    LinearInput, PANEL_VALUES, PREFILL_TILE, Pinned, PrefillTiles, ProductScratch, Rule, View,
};

use super::{MAX_STEP_ROWS, block::GpuBlock, non_finite::NonFiniteFlag};
use crate::{
    CacheShape, MossConfig,
    micro_batch::{MAX_BATCH_TOKENS, MicroBatch},
};

/// Passes whose numbers may be on their way to the card at the same time.
const PASSES_AHEAD: usize = 8;

/// Activations of a pass of up to [`MAX_BATCH_TOKENS`] rows.
#[derive(Debug)]
pub(super) struct Workspace {
    /// `[rows, hidden]` f32: the residual stream.
    pub(super) stream: Buffer<f32>,
    /// `[rows, heads, stride]`
    pub(super) q: Buffer<f16>,
    /// `[rows, outputs]`: a product of many rows.
    pub(super) product: Buffer<f16>,
    pub(super) products: ProductScratch,
    pub(super) non_finite: NonFiniteFlag,
    pub(super) scratch: DecodeScratch,
    normed: [Buffer<f16>; 2],
    attended: Buffer<f16>,
    inner: Buffer<f16>,
    embedding: Option<(Buffer<f16>, Pinned<f16>)>,
    /// Ids, positions and slots of the rows, wanted rows, tables, tiles; at the end 0, 1, 2, …
    inputs: Buffer<u32>,
    staged: Vec<Pinned<u32>>,
    /// The same of a recorded step.
    staged_step: Pinned<u32>,
    turn: usize,
    /// Hidden states from the host.
    staged_stream: Pinned<f32>,
    max_blocks: usize,
    layout: Layout,
}

/// Where the numbers of the present pass lie in `inputs`, behind three numbers a row and the wanted
/// rows.
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    tables_at: usize,
    tiles_at: usize,
    end: usize,
    sequences: usize,
    tiles: usize,
}

impl Workspace {
    pub(super) fn new(
        gpu: &Gpu,
        config: &MossConfig,
        blocks: &[GpuBlock],
        embedding_on_host: bool,
    ) -> Result<Self, KernelError> {
        let widest = |pick: &dyn Fn(&GpuBlock) -> usize| blocks.iter().map(pick).max().unwrap_or(0);
        let halves = |stride: usize| gpu.zeros::<f16>(MAX_BATCH_TOKENS * stride);
        let hidden = config.hidden_size;
        let spec = config.block();
        let layout = spec.head_layout();
        let max_blocks = config.context_length.div_ceil(CacheShape::BLOCK_SIZE);
        // Three numbers a row, the wanted rows, a table and a tile a sequence at most.
        let rows = MAX_BATCH_TOKENS * (4 + max_blocks + 4) + 8;
        let mut numbers = vec![0u32; rows];
        numbers.extend(0..MAX_BATCH_TOKENS as u32);
        let shares = |block: &GpuBlock| block.inputs.first.shares_input(&block.inputs.second);
        let embedding = match embedding_on_host {
            true => Some((halves(hidden)?, gpu.pinned(MAX_BATCH_TOKENS * hidden)?)),
            false => None,
        };
        Ok(Self {
            stream: gpu.zeros(MAX_BATCH_TOKENS * hidden)?,
            q: halves(layout.num_heads * layout.stride())?,
            product: halves(spec.max_out_features().next_multiple_of(8))?,
            products: ProductScratch::new(gpu, panel_values(blocks))?,
            non_finite: NonFiniteFlag::new(gpu)?,
            scratch: DecodeScratch::new(gpu, MAX_STEP_ROWS, config.context_length, layout)?,
            normed: [
                halves(widest(&|block| block.inputs.first.input_stride()))?,
                halves(widest(&|block| {
                    if shares(block) {
                        0
                    } else {
                        block.inputs.second.input_stride()
                    }
                }))?,
            ],
            attended: halves(widest(&|block| block.outputs.first.input_stride()))?,
            inner: halves(widest(&|block| block.outputs.second.input_stride()))?,
            embedding,
            inputs: gpu.upload(&numbers)?,
            staged: (0..PASSES_AHEAD)
                .map(|_| gpu.pinned(rows))
                .collect::<Result<_, _>>()?,
            staged_step: gpu.pinned_for_steps(rows)?,
            turn: 0,
            staged_stream: gpu.pinned(MAX_BATCH_TOKENS * hidden)?,
            max_blocks,
            layout: Layout::default(),
        })
    }

    /// Starts the copy of a pass's numbers to the card; of a recorded step,
    /// [`Workspace::step_numbers`] is to copy them.
    pub(super) fn put(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        is_recorded: bool,
    ) -> Result<(), KernelError> {
        let n = batch.len();
        // Every table and tile begins on 16 bytes.
        let tables_at = (3 * n + batch.wanted.len().max(n)).next_multiple_of(4);
        let tiles_at = (tables_at + batch.sequences.len() * self.max_blocks).next_multiple_of(4);
        let staged = match is_recorded {
            true => &mut self.staged_step,
            false => {
                self.turn = (self.turn + 1) % PASSES_AHEAD;
                &mut self.staged[self.turn]
            }
        };
        let numbers = staged.as_mut_slice()?;
        let parts = [
            batch.token_ids(),
            batch.positions(),
            batch.slots(),
            &batch.wanted,
        ];
        for (place, part) in numbers.chunks_mut(n).zip(parts) {
            place[..part.len()].copy_from_slice(part);
        }
        let (tables, tiles) = numbers[tables_at..].split_at_mut(tiles_at - tables_at);
        let mut count = 0;
        for (sequence, rows) in batch.sequences.iter().enumerate() {
            let used = &rows.blocks[..rows.blocks.len().min(self.max_blocks)];
            tables[sequence * self.max_blocks..][..used.len()].copy_from_slice(used);
            for done in (0..rows.num_rows).step_by(PREFILL_TILE) {
                let tile_rows = PREFILL_TILE.min(rows.num_rows - done);
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
            sequences: batch.sequences.len(),
            tiles: count,
        };
        match is_recorded {
            true => Ok(()),
            false => staged.copy_to(&self.inputs, 0, end),
        }
    }

    /// The copy that takes the numbers of a step to the card. They lie in the same places in every
    /// step of as many sequences.
    pub(super) fn step_numbers(&mut self) -> Result<CopyRun<'_>, KernelError> {
        self.staged_step.run_to(&self.inputs, 0, self.layout.end)
    }

    /// Starts the copy of hidden states, `[rows, hidden]` f32, from the host.
    pub(super) fn put_stream(&mut self, x: &Tensor) -> Result<(), KernelError> {
        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let staged = self.staged_stream.as_mut_slice()?;
        let room = staged.len();
        let place = staged
            .get_mut(..values.len())
            .ok_or_else(|| KernelError::Argument {
                op: "hand-over",
                arg: "values",
                found: values.len(),
                rule: Rule::AtMost(room),
            })?;
        place.copy_from_slice(&values);
        self.staged_stream.copy_to(&self.stream, 0, values.len())
    }

    /// Starts the copy of embedding rows that lie in host memory.
    pub(super) fn put_embedding(
        &mut self,
        ids: &[u32],
        table: &DenseWeight,
    ) -> Result<(), KernelError> {
        let Some((device, staged)) = &mut self.embedding else {
            return Ok(());
        };
        let hidden = table.in_features;
        let row_bytes = hidden * table.dtype.bytes();
        for (row, id) in staged.as_mut_slice()?.chunks_exact_mut(hidden).zip(ids) {
            let from = &table.data[*id as usize * row_bytes..][..row_bytes];
            table.dtype.to_f16(from, row);
        }
        staged.copy_to(device, 0, ids.len() * hidden)
    }

    /// Rows that [`Workspace::put_embedding`] brought.
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

    /// 0, 1, 2, …
    pub(super) fn row_numbers(&self, n: usize) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(self.inputs.len() - MAX_BATCH_TOKENS, n)
    }

    /// Wanted rows `first..first + count` of a pass of `n`.
    pub(super) fn wanted(
        &self,
        n: usize,
        first: usize,
        count: usize,
    ) -> Result<View<'_, u32>, KernelError> {
        self.inputs.view(3 * n + first, count)
    }

    /// Whether every sequence brought one row.
    pub(super) fn is_step(&self, n: usize) -> bool {
        self.layout.sequences == n && n <= MAX_STEP_ROWS
    }

    /// The sequences of a step.
    pub(super) fn decode_rows(&self, n: usize) -> Result<DecodeRows<'_>, KernelError> {
        let tables = self
            .inputs
            .view(self.layout.tables_at, n * self.max_blocks)?;
        Ok(DecodeRows {
            tables,
            max_blocks: self.max_blocks,
            rows: None,
            positions: self.positions(n)?,
            count: n,
        })
    }

    /// The sequences of any batch.
    pub(super) fn prefill_tiles(&self) -> Result<PrefillTiles<'_>, KernelError> {
        let Layout {
            tables_at,
            tiles_at,
            sequences,
            tiles,
            ..
        } = self.layout;
        Ok(PrefillTiles {
            tables: self.inputs.view(tables_at, sequences * self.max_blocks)?,
            max_blocks: self.max_blocks,
            tiles: self.inputs.view(tiles_at, 4 * tiles)?,
            count: tiles,
        })
    }

    pub(super) fn normed(&self, which: usize, linear: &GpuLinear) -> LinearInput<'_> {
        LinearInput {
            values: &self.normed[which],
            stride: linear.input_stride(),
        }
    }

    pub(super) fn attended(&self, out_proj: &GpuLinear) -> LinearInput<'_> {
        LinearInput {
            values: &self.attended,
            stride: out_proj.input_stride(),
        }
    }

    pub(super) fn inner(&self, fc_out: &GpuLinear) -> LinearInput<'_> {
        LinearInput {
            values: &self.inner,
            stride: fc_out.input_stride(),
        }
    }
}

/// Values of the panel: as many as fit the cache, or the whole of the largest packed weight where
/// that is less, or 16 whole rows where a row is longer than that.
fn panel_values(blocks: &[GpuBlock]) -> usize {
    let pairs = blocks
        .iter()
        .flat_map(|block| [&block.inputs, &block.outputs]);
    let linears = pairs
        .flat_map(|pair| [&pair.first, &pair.second])
        .filter(|linear| linear.is_packed());
    let needed = |linear: &GpuLinear| {
        let outputs = linear.out_features().next_multiple_of(16);
        let whole = outputs * linear.input_stride();
        whole
            .min(PANEL_VALUES)
            .max((16 * linear.input_stride()).max(64 * outputs).min(whole))
    };
    linears.map(needed).max().unwrap_or(0)
}
