//! Attention over the paged KV cache: what both kinds share, and decode attention.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    address::{In, Out},
    args::DecodeAttentionArgs,
    buffer::{Buffer, View},
    contract::{count, rule},
    decode_grid::{DecodeGrid, DecodeScratchSize},
    device::Gpu,
    kernels::Kernel,
    kv_blocks::KvBlocks,
    launch::{Call, Geometry},
    layout::{BLOCK_POSITIONS, HeadLayout, KvFormat},
    operands::{AttentionLaunch, LinearInput},
    weights::GpuLinear,
};

pub(crate) const OP: &str = "attention";

/// Threads of a block.
const THREADS: u32 = 128;

/// Generated tokens, each with the block table of its sequence.
#[derive(Debug, Clone, Copy)]
pub struct DecodeRows<'a> {
    /// Block tables, `[count, max_blocks]`.
    pub tables: View<'a, u32>,
    /// Entries of a block table.
    pub max_blocks: usize,
    /// Position of each token. Tokens of one sequence have consecutive positions.
    pub positions: View<'a, u32>,
    /// Number of tokens.
    pub count: usize,
}

/// Scratch memory of decode attention (flash-decoding).
#[derive(Debug)]
pub struct DecodeScratch {
    parts: Buffer<f32>,
    tickets: Buffer<u32>,
}

impl DecodeScratch {
    /// Allocates the memory for up to `sequences` tokens at positions below `positions`: the bytes
    /// that [`decode_scratch_bytes`](crate::decode_scratch_bytes) returns.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        sequences: usize,
        positions: usize,
        layout: HeadLayout,
    ) -> Result<Self, KernelError> {
        let size = DecodeScratchSize::up_to(sequences, positions, layout);
        Ok(Self {
            parts: gpu.zeros(size.parts)?,
            tickets: gpu.zeros(size.tickets)?,
        })
    }
}

/// The arguments that both kinds of attention share.
pub(crate) struct SharedArgs {
    pub(crate) q: In<f16>,
    pub(crate) keys: In<f16>,
    pub(crate) values: In<f16>,
    pub(crate) heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) stride: u32,
    pub(crate) out_stride: u32,
    pub(crate) out: Out<f16>,
    pub(crate) scatter: In<u32>,
    pub(crate) scale: f32,
    /// Format of the cache.
    format: KvFormat,
}

impl SharedArgs {
    /// Checks that the queries and outputs of `n` tokens fit, and that the cache has these heads.
    pub(crate) fn new<'a>(
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
            out.stride >= out_proj.input_stride() && out.stride.is_multiple_of(8),
            Rule::AlignedAtLeast {
                multiple: 8,
                least: out_proj.input_stride(),
            },
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
            scatter: out_proj.scatter_address(call, out.order)?,
            scale: 1.0 / (head_dim as f32).sqrt(),
            format: cache.format,
        })
    }

    /// Returns the kernel for the stride of the heads and the format of the cache, from those for
    /// strides up to a size, f16 and 8-bit, in ascending order.
    pub(crate) fn kernel<A, const N: usize>(
        &self,
        kernels: [(u32, Kernel<A>, Kernel<A>); N],
    ) -> Result<Kernel<A>, KernelError> {
        let mut kernels = kernels.into_iter();
        let found = kernels.find(|(size, ..)| self.stride <= *size);
        found
            .map(|(_, f16, int8)| match self.format {
                KvFormat::F16 => f16,
                KvFormat::Int8 => int8,
            })
            .ok_or(KernelError::Argument {
                op: OP,
                arg: "head_dim",
                found: self.head_dim as usize,
                rule: Rule::AtMost(256),
            })
    }
}

impl Gpu {
    /// Computes `softmax(q k^T / sqrt(head_dim)) v` for one query per generated token, each with
    /// its block table, into the input of out_proj. The result of a token depends on its context
    /// alone, not on the other tokens. The caller guarantees that block tables and positions are
    /// valid, and that positions are below `max_blocks * 16`.
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
        let shared = SharedArgs::new(&call, q, cache, rows.count, out, layout)?;
        let positions = rows.max_blocks * BLOCK_POSITIONS;
        let grid = DecodeGrid::new(rows.count, positions, layout.num_heads);
        let size = DecodeScratchSize::exact(rows.count, positions, layout);
        let kernel = shared.kernel([
            (
                16,
                Kernel::<DecodeAttentionArgs>::HEAD_16,
                Kernel::<DecodeAttentionArgs>::INT8_HEAD_16,
            ),
            (
                32,
                Kernel::<DecodeAttentionArgs>::HEAD_32,
                Kernel::<DecodeAttentionArgs>::INT8_HEAD_32,
            ),
            (
                64,
                Kernel::<DecodeAttentionArgs>::HEAD_64,
                Kernel::<DecodeAttentionArgs>::INT8_HEAD_64,
            ),
            (
                128,
                Kernel::<DecodeAttentionArgs>::HEAD_128,
                Kernel::<DecodeAttentionArgs>::INT8_HEAD_128,
            ),
            (
                256,
                Kernel::<DecodeAttentionArgs>::HEAD_256,
                Kernel::<DecodeAttentionArgs>::INT8_HEAD_256,
            ),
        ])?;
        let args = DecodeAttentionArgs {
            q: shared.q,
            keys: shared.keys,
            values: shared.values,
            tables: call.input("tables", rows.tables, rows.count * rows.max_blocks)?,
            positions: call.input("positions", rows.positions, rows.count)?,
            parts: call.output("parts", &scratch.parts, size.parts)?,
            tickets: call.output("tickets", &scratch.tickets, size.tickets)?,
            out: shared.out,
            scatter: shared.scatter,
            max_blocks: count(OP, "max_blocks", rows.max_blocks)?,
            heads: shared.heads,
            head_dim: shared.head_dim,
            stride: shared.stride,
            out_stride: shared.out_stride,
            least_splits: count(OP, "least_splits", grid.least_splits)?,
            scale: shared.scale,
        };
        let geometry = Geometry {
            grid: (
                shared.heads,
                count(OP, "tokens", rows.count)?,
                count(OP, "blocks per head", grid.blocks)?,
            ),
            block: THREADS,
        };
        call.launch(kernel, geometry, &args)?;
        Ok(AttentionLaunch(()))
    }
}
