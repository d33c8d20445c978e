//! Attention over the paged KV cache.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    address::{In, Out},
    args::{DecodeAttentionArgs, PrefillAttentionArgs},
    buffer::{Buffer, View},
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    kv_blocks::KvBlocks,
    launch::{Call, Geometry},
    layout::{BLOCK_POSITIONS, HeadLayout},
    operands::{AttentionLaunch, LinearInput},
    weights::GpuLinear,
};

const OP: &str = "attention";

const SPLIT: usize = crate::layout::DECODE_SPLIT;

/// Threads of a block.
const THREADS: u32 = 128;

/// Sequences with one token each.
#[derive(Debug, Clone, Copy)]
pub struct DecodeRows<'a> {
    /// Block tables, `[sequences, max_blocks]`.
    pub tables: View<'a, u32>,
    /// Entries of a block table.
    pub max_blocks: usize,
    /// The token of each sequence; `None` if sequence `i` has token `i`.
    pub rows: Option<View<'a, u32>>,
    /// Position of each token.
    pub positions: View<'a, u32>,
    /// Number of sequences.
    pub count: usize,
}

/// Scratch memory of decode attention (flash-decoding).
#[derive(Debug)]
pub struct DecodeScratch {
    parts: Buffer<f32>,
    tickets: Buffer<u32>,
}

impl DecodeScratch {
    /// Allocates the memory for up to `sequences` of up to `positions`.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        sequences: usize,
        positions: usize,
        layout: HeadLayout,
    ) -> Result<Self, KernelError> {
        let splits = positions.div_ceil(SPLIT).max(1);
        let heads = sequences * layout.num_heads;
        Ok(Self {
            parts: gpu.zeros(heads * splits * (2 + layout.stride()))?,
            tickets: gpu.zeros(heads)?,
        })
    }
}

/// Sequences with several tokens, in tiles of consecutive positions.
#[derive(Debug, Clone, Copy)]
pub struct PrefillTiles<'a> {
    /// Block tables, `[sequences, max_blocks]`.
    pub tables: View<'a, u32>,
    /// Entries of a block table.
    pub max_blocks: usize,
    /// `[count, 4]`: sequence, first token, tokens (at most [`crate::PREFILL_TILE`]) and position
    /// of the first token.
    pub tiles: View<'a, u32>,
    /// Number of tiles.
    pub count: usize,
}

/// The arguments that both kinds of attention share.
struct Shared {
    q: In<f16>,
    keys: In<f16>,
    values: In<f16>,
    heads: u32,
    head_dim: u32,
    stride: u32,
    out_stride: u32,
    out: Out<f16>,
    scatter: In<u32>,
    scale: f32,
}

impl Shared {
    /// Checks that the queries and outputs of `n` tokens fit, and that the cache has these heads.
    fn new<'a>(
        call: &Call<'a>,
        q: &'a Buffer<f16>,
        cache: &'a KvBlocks,
        n: usize,
        (out, out_proj): (LinearInput<'a>, &'a GpuLinear),
        layout: HeadLayout,
    ) -> Result<Self, KernelError> {
        let HeadLayout {
            num_heads,
            head_dim,
            ..
        } = layout;
        let (stride, hidden) = (layout.stride(), num_heads * head_dim);
        let fits = (cache.heads, cache.stride) == (num_heads, stride);
        rule(
            OP,
            "cache heads",
            cache.heads,
            fits,
            Rule::HeadsOfStride {
                heads: num_heads,
                stride,
            },
        )?;
        rule(
            OP,
            "output stride",
            out.stride,
            out.stride >= out_proj.input_stride(),
            Rule::AtLeast(out_proj.input_stride()),
        )?;
        rule(
            OP,
            "out_proj inputs",
            out_proj.in_features,
            out_proj.in_features == hidden,
            Rule::Exactly(hidden),
        )?;
        Ok(Self {
            q: call.input("q", q, n * num_heads * stride)?,
            keys: call.input("keys", cache.keys(), cache.keys().len())?,
            values: call.input("values", cache.values(), cache.values().len())?,
            heads: count(OP, "heads", num_heads)?,
            head_dim: count(OP, "head_dim", head_dim)?,
            stride: count(OP, "stride", stride)?,
            out_stride: count(OP, "output stride", out.stride)?,
            out: call.output("output", out.values, n * out.stride)?,
            scatter: out_proj.scatter_address(call)?,
            scale: 1.0 / (head_dim as f32).sqrt(),
        })
    }

    /// Returns the kernel for the stride of the heads, from those for strides up to 16, 32, 64, 128
    /// and 256.
    fn kernel<A>(&self, kernels: [Kernel<A>; 5]) -> Result<Kernel<A>, KernelError> {
        let sizes = [16, 32, 64, 128, 256];
        let mut fitting = sizes.into_iter().zip(kernels);
        let found = fitting.find(|(size, _)| self.stride <= *size);
        found
            .map(|(_, kernel)| kernel)
            .ok_or_else(|| KernelError::Argument {
                op: OP,
                arg: "head_dim",
                found: self.head_dim as usize,
                rule: Rule::AtMost(256),
            })
    }
}

impl Gpu {
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
        let shared = Shared::new(&call, q, cache, n, out, layout)?;
        let kernel = shared.kernel([
            Kernel::<PrefillAttentionArgs>::HEAD_16,
            Kernel::<PrefillAttentionArgs>::HEAD_32,
            Kernel::<PrefillAttentionArgs>::HEAD_64,
            Kernel::<PrefillAttentionArgs>::HEAD_128,
            Kernel::<PrefillAttentionArgs>::HEAD_256,
        ])?;
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
        let geometry = Geometry {
            grid: (count(OP, "tiles", tiles.count)?, shared.heads, 1),
            block: THREADS,
        };
        call.launch(kernel, geometry, &args)?;
        Ok(AttentionLaunch(()))
    }

    /// Computes `softmax(q k^T / sqrt(head_dim)) v` for one token per sequence, into the input of
    /// out_proj. The caller guarantees that block tables, token numbers and positions are valid,
    /// and that positions are below `max_blocks * 16`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn attention_decode(
        &self,
        q: &Buffer<f16>,
        cache: &KvBlocks,
        rows: DecodeRows<'_>,
        scratch: &DecodeScratch,
        out: (LinearInput<'_>, &GpuLinear),
        layout: HeadLayout,
    ) -> Result<AttentionLaunch, KernelError> {
        let call = Call::new(self, OP);
        let shared = Shared::new(&call, q, cache, rows.count, out, layout)?;
        let splits = (rows.max_blocks * BLOCK_POSITIONS).div_ceil(SPLIT);
        let head_rows = rows.count * layout.num_heads;
        let parts = head_rows * splits * (2 + layout.stride());
        let kernel = shared.kernel([
            Kernel::<DecodeAttentionArgs>::HEAD_16,
            Kernel::<DecodeAttentionArgs>::HEAD_32,
            Kernel::<DecodeAttentionArgs>::HEAD_64,
            Kernel::<DecodeAttentionArgs>::HEAD_128,
            Kernel::<DecodeAttentionArgs>::HEAD_256,
        ])?;
        let args = DecodeAttentionArgs {
            q: shared.q,
            keys: shared.keys,
            values: shared.values,
            tables: call.input("tables", rows.tables, rows.count * rows.max_blocks)?,
            rows: call.optional_input("rows", rows.rows, rows.count)?,
            positions: call.input("positions", rows.positions, rows.count)?,
            parts: call.output("parts", &scratch.parts, parts)?,
            tickets: call.output("tickets", &scratch.tickets, head_rows)?,
            out: shared.out,
            scatter: shared.scatter,
            max_blocks: count(OP, "max_blocks", rows.max_blocks)?,
            heads: shared.heads,
            head_dim: shared.head_dim,
            stride: shared.stride,
            out_stride: shared.out_stride,
            scale: shared.scale,
        };
        let geometry = Geometry {
            grid: (
                count(OP, "splits", splits)?,
                shared.heads,
                count(OP, "sequences", rows.count)?,
            ),
            block: THREADS,
        };
        call.launch(kernel, geometry, &args)?;
        Ok(AttentionLaunch(()))
    }
}
