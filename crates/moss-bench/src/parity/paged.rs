//! A paged KV cache with queries, on the host and on a GPU.

use std::ops::Range;

use candle_core::{Device, Tensor};
use half::f16;
use moss_cpu::ops::{KvLayer, SequenceRows, attention};
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, DecodeRows, DecodeScratch, Gpu, GpuLinear, HeadLayout, InputOrder,
    KvBlocks, KvFormat, LinearInput, PrefillTiles,
};
use moss_weights::{KernelError, LinearWeight, synthetic::halves};

use super::{
    harness::{ParityHarness, widened},
    weights::permuted,
};

/// A cache that several sequences share, with their queries. Host and GPU have the same values.
pub(super) struct Paged {
    pub(super) layout: HeadLayout,
    /// `(positions, tokens)` of each sequence; the tokens are at its last positions.
    pub(super) sequences: Vec<(usize, usize)>,
    /// Blocks of each sequence.
    pub(super) tables: Vec<Vec<u32>>,
    pub(super) blocks: usize,
}

/// Pads heads of `head_dim` values to `stride` with zeros.
pub(super) fn padded(layout: HeadLayout, values: &[f32]) -> Vec<f32> {
    let mut wide = vec![0.0; values.len() / layout.head_dim * layout.stride()];
    for (to, from) in wide
        .chunks_exact_mut(layout.stride())
        .zip(values.chunks_exact(layout.head_dim))
    {
        to[..layout.head_dim].copy_from_slice(from);
    }
    wide
}

impl Paged {
    pub(super) fn new(
        (num_heads, head_dim): (usize, usize),
        sequences: Vec<(usize, usize)>,
    ) -> Self {
        let needed: usize = sequences
            .iter()
            .map(|(positions, _)| positions.div_ceil(BLOCK_POSITIONS))
            .sum();
        // In descending order. The last block of the cache belongs to no sequence.
        let mut free = (0..needed as u32).rev();
        let tables = sequences
            .iter()
            .map(|(positions, _)| {
                free.by_ref()
                    .take(positions.div_ceil(BLOCK_POSITIONS))
                    .collect()
            })
            .collect();
        Self {
            layout: HeadLayout {
                num_heads,
                head_dim,
                shards: 1,
            },
            sequences,
            tables,
            blocks: needed + 1,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.sequences.iter().map(|(_, rows)| rows).sum()
    }

    pub(super) fn max_blocks(&self) -> usize {
        self.tables.iter().map(Vec::len).max().unwrap_or(1)
    }

    /// Returns block tables of `max_blocks` entries, padded with the block that belongs to no
    /// sequence.
    pub(super) fn padded_tables(&self) -> Vec<u32> {
        let mut padded = Vec::new();
        for table in &self.tables {
            padded.extend(table);
            padded.resize(
                padded.len() + self.max_blocks() - table.len(),
                self.blocks as u32 - 1,
            );
        }
        padded
    }

    pub(super) fn cache_len(&self) -> usize {
        self.blocks * self.layout.num_heads * BLOCK_POSITIONS * self.layout.head_dim
    }

    /// Returns queries that give positions different weights.
    pub(super) fn queries(&self) -> Vec<f32> {
        halves(
            self.rows() * self.layout.num_heads * self.layout.head_dim,
            4.0,
            51,
        )
    }

    pub(super) fn keys(&self) -> Vec<f32> {
        halves(self.cache_len(), 1.0, 52)
    }

    pub(super) fn values(&self) -> Vec<f32> {
        halves(self.cache_len(), 1.0, 53)
    }

    /// Returns whether each slot belongs to a sequence.
    pub(super) fn used_slots(&self) -> Vec<bool> {
        let mut seen = vec![false; self.blocks * BLOCK_POSITIONS];
        for ((positions, _), table) in self.sequences.iter().zip(&self.tables) {
            for position in 0..*positions {
                let block = table[position / BLOCK_POSITIONS] as usize;
                seen[block * BLOCK_POSITIONS + position % BLOCK_POSITIONS] = true;
            }
        }
        seen
    }

    /// Returns the contents of the GPU's cache: `values`, and NaN at positions of no sequence.
    pub(super) fn in_cache(&self, values: &[f32]) -> Vec<f32> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = self.layout;
        let seen = self.used_slots();
        let mut values = values.to_vec();
        for (at, line) in values.chunks_exact_mut(head_dim).enumerate() {
            let (block, offset) = (at / BLOCK_POSITIONS / num_heads, at % BLOCK_POSITIONS);
            if !seen[block * BLOCK_POSITIONS + offset] {
                line.fill(f32::NAN);
            }
        }
        padded(self.layout, &values)
    }

    /// Computes the inputs of `out_proj` for every token on the CPU, with a cache in f32, so that
    /// softmax weights are not rounded.
    pub(super) fn expected(&self, out_proj: &LinearWeight) -> Result<Vec<f32>, KernelError> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = self.layout;
        let shape = (self.blocks, num_heads, BLOCK_POSITIONS, head_dim);
        let tensor = |values| Tensor::from_vec(values, shape, &Device::Cpu);
        let cache = KvLayer::from_tensors(tensor(self.keys())?, tensor(self.values())?)?;
        self.attend(&cache, out_proj)
    }

    /// Computes the inputs of `out_proj` for every token on the CPU.
    pub(super) fn attend(
        &self,
        cache: &KvLayer,
        out_proj: &LinearWeight,
    ) -> Result<Vec<f32>, KernelError> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = self.layout;
        let mut sequences = Vec::new();
        let mut first_row = 0;
        for ((positions, rows), blocks) in self.sequences.iter().zip(&self.tables) {
            sequences.push(SequenceRows {
                first_row,
                num_rows: *rows,
                start_pos: positions - rows,
                blocks,
            });
            first_row += rows;
        }
        let q = Tensor::from_vec(
            self.queries(),
            (self.rows(), num_heads, head_dim),
            &Device::Cpu,
        )?;
        let attended: Vec<f32> = attention(&q, cache, &sequences)?.flatten_all()?.to_vec1()?;
        Ok(permuted(out_proj, &attended))
    }
}

/// The buffers of [`Paged`] on a GPU.
pub(super) struct PagedOnGpu<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) layout: HeadLayout,
    pub(super) q: Buffer<f16>,
    pub(super) cache: KvBlocks,
    pub(super) tables: Buffer<u32>,
    pub(super) max_blocks: usize,
    pub(super) out_proj: GpuLinear,
    pub(super) out: Buffer<f16>,
}

impl<'a> PagedOnGpu<'a> {
    pub(super) fn new(
        harness: &ParityHarness<'a>,
        paged: &Paged,
        out_proj: &LinearWeight,
    ) -> Result<Self, KernelError> {
        let (gpu, layout) = (harness.gpu, paged.layout);
        let mut cache = KvBlocks::new(gpu, paged.blocks, BLOCK_POSITIONS, layout, KvFormat::F16)?;
        cache.set_contents(
            harness.halves(&paged.in_cache(&paged.keys()))?,
            harness.halves(&paged.in_cache(&paged.values()))?,
        )?;
        Self::with_cache(harness, paged, out_proj, cache)
    }

    /// As [`PagedOnGpu::new`] with other contents.
    pub(super) fn with_cache(
        harness: &ParityHarness<'a>,
        paged: &Paged,
        out_proj: &LinearWeight,
        cache: KvBlocks,
    ) -> Result<Self, KernelError> {
        let (gpu, layout) = (harness.gpu, paged.layout);
        let out_proj = harness.load(out_proj, None)?;
        Ok(Self {
            gpu,
            layout,
            q: harness.halves(&padded(layout, &paged.queries()))?,
            cache,
            tables: gpu.upload(&paged.padded_tables())?,
            max_blocks: paged.max_blocks(),
            out: gpu.zeros(paged.rows() * out_proj.input_stride())?,
            out_proj,
        })
    }

    /// Returns the inputs of out_proj of `n` tokens in `tiles`.
    pub(super) fn prefill(&self, tiles: &[u32], n: usize) -> Result<Vec<f32>, KernelError> {
        let gpu = self.gpu;
        let on_gpu = gpu.upload(tiles)?;
        gpu.clear(&self.out)?;
        let tiles = PrefillTiles {
            tables: self.tables.all(),
            max_blocks: self.max_blocks,
            tiles: on_gpu.all(),
            count: tiles.len() / 4,
        };
        gpu.attention_prefill(&self.q, &self.cache, tiles, n, self.target(), self.layout)?;
        widened(gpu, &self.out)
    }

    /// Returns the inputs of out_proj of generated tokens, followed by zeros.
    pub(super) fn decode(
        &self,
        tokens: &DecodeTokens,
        q: &Buffer<f16>,
    ) -> Result<Vec<f32>, KernelError> {
        let gpu = self.gpu;
        gpu.clear(&self.out)?;
        let scratch = DecodeScratch::new(
            gpu,
            tokens.count,
            self.max_blocks * BLOCK_POSITIONS,
            self.layout,
        )?;
        let rows = DecodeRows {
            tables: tokens.tables.all(),
            max_blocks: self.max_blocks,
            positions: tokens.positions.all(),
            count: tokens.count,
        };
        gpu.attention_decode(q, &self.cache, rows, &scratch, self.target(), self.layout)?;
        widened(gpu, &self.out)
    }

    pub(super) fn target(&self) -> (LinearInput<'_>, &GpuLinear) {
        (
            LinearInput {
                values: &self.out,
                stride: self.out_proj.input_stride(),
                order: InputOrder::Columns,
            },
            &self.out_proj,
        )
    }
}

/// Generated tokens on a GPU, each with the block table of its sequence.
pub(super) struct DecodeTokens {
    pub(super) tables: Buffer<u32>,
    pub(super) positions: Buffer<u32>,
    pub(super) count: usize,
}

impl DecodeTokens {
    pub(super) fn new(gpu: &Gpu, paged: &Paged) -> Result<Self, KernelError> {
        Self::some(gpu, paged, 0..paged.rows())
    }

    pub(super) fn one(gpu: &Gpu, paged: &Paged, token: usize) -> Result<Self, KernelError> {
        Self::some(gpu, paged, token..token + 1)
    }

    pub(super) fn some(
        gpu: &Gpu,
        paged: &Paged,
        tokens: Range<usize>,
    ) -> Result<Self, KernelError> {
        let padded = paged.padded_tables();
        let tables = padded.chunks_exact(paged.max_blocks());
        let rows: Vec<(&[u32], u32)> = tables
            .zip(&paged.sequences)
            .flat_map(|(table, (positions, rows))| {
                (positions - rows..*positions).map(move |position| (table, position as u32))
            })
            .skip(tokens.start)
            .take(tokens.len())
            .collect();
        let tables: Vec<u32> = rows.iter().flat_map(|(table, _)| *table).copied().collect();
        let positions: Vec<u32> = rows.iter().map(|(_, position)| *position).collect();
        Ok(Self {
            tables: gpu.upload(&tables)?,
            positions: gpu.upload(&positions)?,
            count: tokens.len(),
        })
    }
}
