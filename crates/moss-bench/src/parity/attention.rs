//! Attention over the paged KV cache: one query per sequence, and tiles of queries. The blocks of a
//! sequence are not in order, and positions that no sequence has written are NaN, so that a kernel
//! that reads them fails its case.

use candle_core::{Device, Tensor};
use half::f16;
use moss_cpu::ops::{KvLayer, SequenceRows, attention};
use moss_cuda::{
    BLOCK_POSITIONS, Buffer, DecodeRows, DecodeScratch, Gpu, GpuLinear, HeadLayout, KvBlocks,
    LinearInput, PrefillTiles,
};
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, halves},
};

use super::{
    harness::{Case, ParityHarness, Prepared, widened},
    tolerance::{HALF_STEP, Tolerance},
    weights::{Stored, permuted},
};

const DECODE: Tolerance = Tolerance {
    allowed: HALF_STEP + 1.0 / 32_768.0,
    reason: "f32 sums and exponentials in parts of 32 positions, then rounded to f16: half a step of 2^-10",
};

const PREFILL: Tolerance = Tolerance {
    allowed: 8.0 * HALF_STEP,
    reason: "weights are rounded to f16, half a step of 2^-10 of the values, which are several times the usual output; outputs are rounded too",
};

/// Number of heads and `head_dim`: those of the test checkpoints and of the published model, and
/// some that are not multiples of 16 bytes or of the size of a kernel.
const HEADS: [(usize, usize); 8] = [
    (4, 32),
    (8, 16),
    (4, 256),
    (3, 20),
    (2, 6),
    (2, 72),
    (2, 200),
    (5, 130),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let dense = Stored::F16;
    let act_order = Stored::Int4(Grouping::Permuted(64));
    for heads in HEADS {
        for context in [1, 15, 16, 17, 511, 2047] {
            cases.push(decode(heads, vec![context], dense));
        }
        for (context, rows) in [
            (1, 1),
            (15, 15),
            (63, 63),
            (64, 64),
            (65, 65),
            (127, 127),
            (128, 128),
            (129, 129),
            (211, 150),
            (300, 257),
            (300, 1),
        ] {
            cases.push(prefill(heads, vec![(context, rows)], dense));
        }
    }
    // Several sequences, and outputs in the input permutation of an act-order weight.
    for stored in [dense, act_order] {
        cases.push(decode((4, 32), vec![33, 1, 700, 32, 96], stored));
        cases.push(prefill(
            (4, 32),
            vec![(65, 65), (1, 1), (100, 64), (40, 3)],
            stored,
        ));
    }
    cases.push(decode((24, 256), vec![2048], dense));
    cases.push(prefill((24, 256), vec![(512, 512)], dense));
    for heads in HEADS.into_iter().chain([(24, 256)]) {
        cases.push(tiles_of_any_size(heads));
    }
    cases
}

/// A cache that several sequences share, with their queries. Host and GPU have the same values.
struct Paged {
    layout: HeadLayout,
    /// `(positions, tokens)` of each sequence; the tokens are at its last positions.
    sequences: Vec<(usize, usize)>,
    /// Blocks of each sequence.
    tables: Vec<Vec<u32>>,
    blocks: usize,
}

/// Pads heads of `head_dim` values to `stride` with zeros.
fn padded(layout: HeadLayout, values: &[f32]) -> Vec<f32> {
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
    fn new((num_heads, head_dim): (usize, usize), sequences: Vec<(usize, usize)>) -> Self {
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

    fn rows(&self) -> usize {
        self.sequences.iter().map(|(_, rows)| rows).sum()
    }

    fn max_blocks(&self) -> usize {
        self.tables.iter().map(Vec::len).max().unwrap_or(1)
    }

    /// Returns block tables of `max_blocks` entries, padded with the block that belongs to no
    /// sequence.
    fn padded_tables(&self) -> Vec<u32> {
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

    fn cache_len(&self) -> usize {
        self.blocks * self.layout.num_heads * BLOCK_POSITIONS * self.layout.head_dim
    }

    /// Returns queries that give positions different weights.
    fn queries(&self) -> Vec<f32> {
        halves(
            self.rows() * self.layout.num_heads * self.layout.head_dim,
            4.0,
            51,
        )
    }

    fn keys(&self) -> Vec<f32> {
        halves(self.cache_len(), 1.0, 52)
    }

    fn values(&self) -> Vec<f32> {
        halves(self.cache_len(), 1.0, 53)
    }

    /// Returns the contents of the GPU's cache: `values`, and NaN at positions of no sequence.
    fn in_cache(&self, values: &[f32]) -> Vec<f32> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = self.layout;
        let mut seen = vec![false; self.blocks * BLOCK_POSITIONS];
        for ((positions, _), table) in self.sequences.iter().zip(&self.tables) {
            for position in 0..*positions {
                let block = table[position / BLOCK_POSITIONS] as usize;
                seen[block * BLOCK_POSITIONS + position % BLOCK_POSITIONS] = true;
            }
        }
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
    fn expected(&self, out_proj: &LinearWeight) -> Result<Vec<f32>, KernelError> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = self.layout;
        let shape = (self.blocks, num_heads, BLOCK_POSITIONS, head_dim);
        let tensor = |values| Tensor::from_vec(values, shape, &Device::Cpu);
        let cache = KvLayer::from_tensors(tensor(self.keys())?, tensor(self.values())?)?;
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
        let attended: Vec<f32> = attention(&q, &cache, &sequences)?
            .flatten_all()?
            .to_vec1()?;
        Ok(permuted(out_proj, &attended))
    }
}

/// The buffers of [`Paged`] on a GPU.
struct PagedOnGpu<'a> {
    gpu: &'a Gpu,
    layout: HeadLayout,
    q: Buffer<f16>,
    cache: KvBlocks,
    tables: Buffer<u32>,
    max_blocks: usize,
    out_proj: GpuLinear,
    out: Buffer<f16>,
}

impl<'a> PagedOnGpu<'a> {
    fn new(
        harness: &ParityHarness<'a>,
        paged: &Paged,
        out_proj: &LinearWeight,
    ) -> Result<Self, KernelError> {
        let (gpu, layout) = (harness.gpu, paged.layout);
        let mut cache = KvBlocks::new(gpu, paged.blocks, BLOCK_POSITIONS, layout)?;
        cache.set_contents(
            harness.halves(&paged.in_cache(&paged.keys()))?,
            harness.halves(&paged.in_cache(&paged.values()))?,
        )?;
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
    fn prefill(&self, tiles: &[u32], n: usize) -> Result<Vec<f32>, KernelError> {
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

    fn target(&self) -> (LinearInput<'_>, &GpuLinear) {
        (
            LinearInput {
                values: &self.out,
                stride: self.out_proj.input_stride(),
            },
            &self.out_proj,
        )
    }
}

fn words((heads, head_dim): (usize, usize), stored: Stored) -> String {
    let order = if stored == Stored::F16 {
        ""
    } else {
        ", for act-order"
    };
    format!("{heads} heads of {head_dim}{order}")
}

/// One token for each sequence; `contexts` are their positions.
fn decode(heads: (usize, usize), contexts: Vec<usize>, stored: Stored) -> Case {
    let shape = format!("{}, contexts {contexts:?}", words(heads, stored));
    Case::new("attention_decode", shape, DECODE, move |harness| {
        let paged = Paged::new(
            heads,
            contexts.iter().map(|context| (*context, 1)).collect(),
        );
        let out_proj = stored.weight(heads.0 * heads.1, 16, 54);
        let expected = paged.expected(&out_proj)?;
        let (gpu, n) = (harness.gpu, contexts.len());
        let mut device = PagedOnGpu::new(harness, &paged, &out_proj)?;
        // Queries, positions and outputs are indexed by token, block tables by sequence. With
        // several sequences, the tables are reversed.
        device.tables = gpu.upload(
            &paged
                .padded_tables()
                .chunks_exact(device.max_blocks)
                .rev()
                .flatten()
                .copied()
                .collect::<Vec<_>>(),
        )?;
        let rows = gpu.upload(&(0..n as u32).rev().collect::<Vec<_>>())?;
        let positions = gpu.upload(
            &contexts
                .iter()
                .map(|context| *context as u32 - 1)
                .collect::<Vec<_>>(),
        )?;
        let scratch =
            DecodeScratch::new(gpu, n, device.max_blocks * BLOCK_POSITIONS, device.layout)?;
        let run = move || {
            gpu.clear(&device.out)?;
            let rows = DecodeRows {
                tables: device.tables.all(),
                max_blocks: device.max_blocks,
                rows: (n > 1).then(|| rows.all()),
                positions: positions.all(),
                count: n,
            };
            gpu.attention_decode(
                &device.q,
                &device.cache,
                rows,
                &scratch,
                device.target(),
                device.layout,
            )?;
            widened(device.gpu, &device.out)
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Sequences of `(positions, tokens)`; the tokens are at the last positions.
fn prefill(heads: (usize, usize), sequences: Vec<(usize, usize)>, stored: Stored) -> Case {
    let listed: Vec<String> = sequences
        .iter()
        .map(|(positions, rows)| format!("{rows} of {positions}"))
        .collect();
    let shape = format!("{}, tokens {}", words(heads, stored), listed.join(", "));
    Case::new("attention_prefill", shape, PREFILL, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = stored.weight(heads.0 * heads.1, 16, 55);
        let expected = paged.expected(&out_proj)?;
        let (gpu, n) = (harness.gpu, paged.rows());
        let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
        let tiles = tiles(&sequences, gpu.prefill_tile());
        let run = move || device.prefill(&tiles, n);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Returns the tiles of sequences of `(positions, tokens)`, of up to `size` tokens.
fn tiles(sequences: &[(usize, usize)], size: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = Vec::new();
    let mut first_row = 0;
    for (sequence, (positions, rows)) in sequences.iter().enumerate() {
        for first in (0..*rows).step_by(size) {
            let tile = [
                sequence,
                first_row + first,
                size.min(rows - first),
                positions - rows + first,
            ];
            numbers.extend(tile.map(|number| number as u32));
        }
        first_row += rows;
    }
    numbers
}

/// Tokens have the same bits in tiles of any size.
fn tiles_of_any_size(heads: (usize, usize)) -> Case {
    const SIZES: [usize; 5] = [1, 7, 16, 33, 64];
    let shape = format!("{}, tiles of {SIZES:?} tokens", words(heads, Stored::F16));
    Case::new(
        "attention_prefill",
        shape,
        Tolerance::NONE,
        move |harness| {
            let sequences = vec![(300, 300), (130, 1), (512, 129)];
            let paged = Paged::new(heads, sequences.clone());
            let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 56);
            let (gpu, n) = (harness.gpu, paged.rows());
            let device = PagedOnGpu::new(harness, &paged, &out_proj)?;
            let mut expected = Vec::new();
            for size in SIZES {
                expected.extend(device.prefill(&tiles(&sequences, size), n)?);
            }
            let largest = tiles(&sequences, gpu.prefill_tile());
            let run = move || Ok(device.prefill(&largest, n)?.repeat(SIZES.len()));
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}
