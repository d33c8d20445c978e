//! Prefill attention: many queries per sequence.

use half::f16;
use moss_weights::KernelError;

use crate::{
    args::{PrefillAttentionArgs, PrefillAttentionSm90Args, TensorMap},
    attention::{OP, SharedArgs},
    buffer::{Buffer, View},
    contract::count,
    device::Gpu,
    kernels::Kernel,
    kv_blocks::KvBlocks,
    launch::{Call, Geometry},
    layout::{BLOCK_POSITIONS, HeadLayout, KvFormat},
    operands::{AttentionLaunch, LinearInput},
    tensor_map::Boxes,
    weights::GpuLinear,
};

/// Threads of a block, and tokens of a tile.
const THREADS: u32 = 128;
const TILE: usize = 64;

/// The same on sm_90.
const THREADS_SM90: u32 = 384;
const TILE_SM90: usize = 128;

/// Elements of a head in a box of a tensor map: a row with the 128-byte swizzle.
const BOX_ELEMENTS: u32 = 64;

/// Tokens in a box of the tensor map of the queries.
const BOX_TOKENS: u32 = 64;

/// Sequences with several tokens, in tiles of consecutive positions.
#[derive(Debug, Clone, Copy)]
pub struct PrefillTiles<'a> {
    /// Block tables, `[sequences, max_blocks]`.
    pub tables: View<'a, u32>,
    /// Entries of a block table.
    pub max_blocks: usize,
    /// `[count, 4]`: sequence, first token, tokens (at most [`Gpu::prefill_tile`]) and position
    /// of the first token.
    pub tiles: View<'a, u32>,
    /// Number of tiles.
    pub count: usize,
}

impl Gpu {
    /// Returns the largest number of tokens of a tile of [`PrefillTiles`].
    pub fn prefill_tile(&self) -> usize {
        if self.has_wgmma() { TILE_SM90 } else { TILE }
    }

    /// As [`Gpu::attention_decode`], for `n` tokens in tiles of consecutive positions of one
    /// sequence. The caller guarantees that block tables and tiles are valid.
    ///
    /// # Errors
    /// As for [`Gpu::attention_decode`].
    pub fn attention_prefill(
        &self,
        q: &Buffer<f16>,
        cache: &KvBlocks,
        tiles: PrefillTiles<'_>,
        n: usize,
        out: (LinearInput<'_>, &GpuLinear),
        layout: HeadLayout,
    ) -> Result<AttentionLaunch, KernelError> {
        let call = Call::new(self, OP);
        let shared = SharedArgs::new(&call, q, cache, n, out, layout)?;
        let args = PrefillAttentionArgs {
            q: shared.q,
            keys: shared.keys,
            values: shared.values,
            tables: call.input("tables", tiles.tables, 0)?,
            tiles: call.input("tiles", tiles.tiles, tiles.count * 4)?,
            out: shared.out,
            scatter: shared.scatter,
            max_blocks: count(OP, "max_blocks", tiles.max_blocks)?,
            heads: shared.heads,
            head_dim: shared.head_dim,
            stride: shared.stride,
            out_stride: shared.out_stride,
            scale: shared.scale,
        };
        let geometry = |block| {
            Ok::<_, KernelError>(Geometry {
                grid: (count(OP, "tiles", tiles.count)?, shared.heads, 1),
                block,
            })
        };
        if !self.has_wgmma() {
            let kernel = shared.kernel([
                (
                    16,
                    Kernel::<PrefillAttentionArgs>::HEAD_16,
                    Kernel::<PrefillAttentionArgs>::INT8_HEAD_16,
                ),
                (
                    32,
                    Kernel::<PrefillAttentionArgs>::HEAD_32,
                    Kernel::<PrefillAttentionArgs>::INT8_HEAD_32,
                ),
                (
                    64,
                    Kernel::<PrefillAttentionArgs>::HEAD_64,
                    Kernel::<PrefillAttentionArgs>::INT8_HEAD_64,
                ),
                (
                    128,
                    Kernel::<PrefillAttentionArgs>::HEAD_128,
                    Kernel::<PrefillAttentionArgs>::INT8_HEAD_128,
                ),
                (
                    256,
                    Kernel::<PrefillAttentionArgs>::HEAD_256,
                    Kernel::<PrefillAttentionArgs>::INT8_HEAD_256,
                ),
            ])?;
            call.launch(kernel, geometry(THREADS)?, &args)?;
            return Ok(AttentionLaunch(()));
        }
        let kernel = shared.kernel([
            (
                64,
                Kernel::<PrefillAttentionSm90Args>::HEAD_64,
                Kernel::<PrefillAttentionSm90Args>::INT8_HEAD_64,
            ),
            (
                128,
                Kernel::<PrefillAttentionSm90Args>::HEAD_128,
                Kernel::<PrefillAttentionSm90Args>::INT8_HEAD_128,
            ),
            (
                256,
                Kernel::<PrefillAttentionSm90Args>::HEAD_256,
                Kernel::<PrefillAttentionSm90Args>::INT8_HEAD_256,
            ),
        ])?;
        let (heads, stride) = (layout.num_heads, layout.stride());
        let queries = Boxes {
            values: q.all(),
            extents: [stride, heads, n],
            strides: [stride, heads * stride],
            boxed: [BOX_ELEMENTS, 1, BOX_TOKENS],
        };
        let boxes = |arg, buffer| match cache.format {
            KvFormat::F16 => call.tensor_map(arg, positions(cache, buffer)),
            KvFormat::Int8 => Ok(TensorMap::NONE),
        };
        let args = PrefillAttentionSm90Args {
            q: call.tensor_map("q", queries)?,
            keys: boxes("keys", cache.keys())?,
            values: boxes("values", cache.values())?,
            base: args,
        };
        call.launch(kernel, geometry(THREADS_SM90)?, &args)?;
        Ok(AttentionLaunch(()))
    }
}

/// Returns the boxes of keys or values: one block of the cache and head.
fn positions<'a>(cache: &KvBlocks, values: &'a Buffer<f16>) -> Boxes<'a, f16, 2, 1> {
    Boxes {
        values: values.all(),
        extents: [
            cache.stride,
            cache.num_blocks() * cache.heads * BLOCK_POSITIONS,
        ],
        strides: [cache.stride],
        boxed: [BOX_ELEMENTS, BLOCK_POSITIONS as u32],
    }
}
