//! Attention over the paged cache on a card.

use half::f16;

use super::{
    BLOCK_POSITIONS, Buffer, Gpu, GpuLinear, HeadLayout,
    args::{DecodeAttentionArgs, PrefillAttentionArgs},
    buffer::View,
    count,
    launch::{Geometry, Kernel, params},
    linear::LinearInput,
    rule,
};
use crate::KernelError;

const OP: &str = "attention";

/// Positions that one block of threads attends over in decode.
const SPLIT: usize = 32;

/// One layer's cache: `[num_blocks, heads, 16, stride]` keys, and values.
#[derive(Debug)]
pub struct KvBlocks {
    keys: Buffer<f16>,
    values: Buffer<f16>,
    pub(super) heads: usize,
    pub(super) stride: usize,
    num_blocks: usize,
}

impl KvBlocks {
    /// Room for `num_blocks`; memory comes with [`KvBlocks::hold`].
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a block size other than 16; [`KernelError::OutOfMemory`].
    pub fn new(
        gpu: &Gpu,
        num_blocks: usize,
        block_size: usize,
        layout: HeadLayout,
    ) -> Result<Self, KernelError> {
        rule(
            "kv cache",
            "block_size",
            block_size,
            block_size == BLOCK_POSITIONS,
            BLOCK_POSITIONS.to_string(),
        )?;
        let (heads, stride) = (layout.num_heads, layout.stride());
        let len = num_blocks * heads * BLOCK_POSITIONS * stride;
        Ok(Self {
            keys: gpu.reserve(len)?,
            values: gpu.reserve(len)?,
            heads,
            stride,
            num_blocks,
        })
    }

    /// Takes memory for the first `blocks`.
    ///
    /// # Errors
    /// As for [`Gpu::hold`].
    pub fn hold(&mut self, gpu: &Gpu, blocks: usize) -> Result<(), KernelError> {
        let len = blocks * self.heads * BLOCK_POSITIONS * self.stride;
        gpu.hold(&mut self.keys, len)?;
        gpu.hold(&mut self.values, len)
    }

    /// Returns the keys.
    pub fn keys(&self) -> &Buffer<f16> {
        &self.keys
    }

    /// Returns the values.
    pub fn values(&self) -> &Buffer<f16> {
        &self.values
    }

    /// Replaces all keys and values, for tests and measurements.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for buffers of another length.
    pub fn set_contents(
        &mut self,
        keys: Buffer<f16>,
        values: Buffer<f16>,
    ) -> Result<(), KernelError> {
        let expected = self.keys.len();
        for (arg, buffer) in [("keys", &keys), ("values", &values)] {
            let found = buffer.len();
            rule(
                "kv cache",
                arg,
                found,
                found == expected,
                expected.to_string(),
            )?;
        }
        (self.keys, self.values) = (keys, values);
        Ok(())
    }

    /// Blocks there are.
    pub fn num_blocks(&self) -> usize {
        self.num_blocks
    }

    /// Bytes on the card.
    pub fn bytes(&self) -> u64 {
        self.keys.bytes() + self.values.bytes()
    }
}

/// Sequences that bring one row each.
#[derive(Debug, Clone, Copy)]
pub struct DecodeRows<'a> {
    /// `[sequences, max_blocks]`: cache block of each 16 positions.
    pub tables: View<'a, u32>,
    /// Entries of a table.
    pub max_blocks: usize,
    /// The row of each sequence in the pass; `None` for its own number.
    pub rows: Option<View<'a, u32>>,
    /// Position of each row of the pass.
    pub positions: View<'a, u32>,
    /// Sequences.
    pub count: usize,
}

/// Scratch of decode attention for `sequences` over `positions`.
#[derive(Debug)]
pub struct DecodeScratch {
    parts: Buffer<f32>,
    tickets: Buffer<u32>,
}

impl DecodeScratch {
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

/// Sequences that bring several rows.
#[derive(Debug, Clone, Copy)]
pub struct PrefillTiles<'a> {
    /// `[sequences, max_blocks]`: cache block of each 16 positions.
    pub tables: View<'a, u32>,
    /// Entries of a table.
    pub max_blocks: usize,
    /// `[count, 4]`: table, first row, rows (at most [`crate::PREFILL_TILE`]) and position of the first
    /// row.
    pub tiles: View<'a, u32>,
    /// Tiles.
    pub count: usize,
}

/// What both kinds of attention check and pass on.
struct Shared {
    heads: u32,
    head_dim: u32,
    stride: u32,
    out_stride: u32,
    out: *mut f16,
    scatter: *const u32,
    scale: f32,
}

impl Shared {
    /// Checks that `n` rows of queries and outputs fit, and the cache to the heads.
    fn new(
        q: &Buffer<f16>,
        cache: &KvBlocks,
        n: usize,
        (out, out_proj): (LinearInput<'_>, &GpuLinear),
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
            format!("{num_heads} of stride {stride}"),
        )?;
        at_least("q", q.len(), n * num_heads * stride)?;
        at_least("output stride", out.stride, out_proj.input_stride())?;
        at_least("output", out.values.len(), n * out.stride)?;
        rule(
            OP,
            "out_proj inputs",
            out_proj.in_features,
            out_proj.in_features == hidden,
            hidden.to_string(),
        )?;
        Ok(Self {
            heads: count(OP, "heads", num_heads)?,
            head_dim: count(OP, "head_dim", head_dim)?,
            stride: count(OP, "stride", stride)?,
            out_stride: count(OP, "output stride", out.stride)?,
            out: out.values.ptr_mut(),
            scatter: out_proj
                .scatter
                .as_ref()
                .map_or(std::ptr::null(), Buffer::ptr),
            scale: 1.0 / (head_dim as f32).sqrt(),
        })
    }

    /// The kernel for the heads' stride, of those for strides up to 16, 32, 64, 128 and 256.
    fn kernel(&self, kernels: [Kernel; 5]) -> Result<Kernel, KernelError> {
        let sizes = [16, 32, 64, 128, 256];
        let fitting = sizes
            .into_iter()
            .zip(kernels)
            .find(|(size, _)| self.stride <= *size);
        fitting
            .map(|(_, kernel)| kernel)
            .ok_or_else(|| KernelError::Argument {
                op: OP,
                arg: "head_dim",
                found: self.head_dim as usize,
                rule: "at most 256".into(),
            })
    }
}

fn at_least(arg: &'static str, found: usize, needed: usize) -> Result<(), KernelError> {
    rule(
        OP,
        arg,
        found,
        found >= needed,
        format!("at least {needed}"),
    )
}

impl Gpu {
    /// As [`Gpu::attention_decode`], for `n` rows in tiles of consecutive positions of one
    /// sequence. Tables and tiles are the caller's to check.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit.
    pub fn attention_prefill(
        &self,
        q: &Buffer<f16>,
        cache: &KvBlocks,
        tiles: PrefillTiles<'_>,
        n: usize,
        out: (LinearInput<'_>, &GpuLinear),
        layout: HeadLayout,
    ) -> Result<(), KernelError> {
        let shared = Shared::new(q, cache, n, out, layout)?;
        at_least("tiles", tiles.tiles.len, tiles.count * 4)?;
        let kernel = shared.kernel([
            Kernel::AttentionPrefill16,
            Kernel::AttentionPrefill32,
            Kernel::AttentionPrefill64,
            Kernel::AttentionPrefill128,
            Kernel::AttentionPrefill256,
        ])?;
        let Shared {
            heads,
            head_dim,
            stride,
            out_stride,
            out,
            scatter,
            scale,
        } = shared;
        let args = PrefillAttentionArgs {
            q: q.ptr(),
            keys: cache.keys.ptr(),
            values: cache.values.ptr(),
            tables: tiles.tables.ptr(),
            tiles: tiles.tiles.ptr(),
            out,
            scatter,
            max_blocks: count(OP, "max_blocks", tiles.max_blocks)?,
            heads,
            head_dim,
            stride,
            out_stride,
            scale,
        };
        let grid = (count(OP, "tiles", tiles.count)?, heads, 1);
        // SAFETY: the only argument is `PrefillAttentionArgs`, field for field as in
        // kernels/attention_prefill.cu; extents were checked above, tables and tiles by the caller.
        unsafe { self.launch(kernel, Geometry { grid, block: 128 }, params![args]) }
    }

    /// `softmax(q k^T / sqrt(head_dim)) v` for one row a sequence, into the inputs of out_proj.
    /// Tables, rows and positions are the caller's to check; no position reaches past `max_blocks *
    /// 16`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit.
    pub fn attention_decode(
        &self,
        q: &Buffer<f16>,
        cache: &KvBlocks,
        rows: DecodeRows<'_>,
        scratch: &DecodeScratch,
        out: (LinearInput<'_>, &GpuLinear),
        layout: HeadLayout,
    ) -> Result<(), KernelError> {
        let shared = Shared::new(q, cache, rows.count, out, layout)?;
        let splits = (rows.max_blocks * BLOCK_POSITIONS).div_ceil(SPLIT);
        let head_rows = rows.count * layout.num_heads;
        at_least("tables", rows.tables.len, rows.count * rows.max_blocks)?;
        at_least(
            "parts",
            scratch.parts.len(),
            head_rows * splits * (2 + layout.stride()),
        )?;
        at_least("tickets", scratch.tickets.len(), head_rows)?;
        let kernel = shared.kernel([
            Kernel::AttentionDecode16,
            Kernel::AttentionDecode32,
            Kernel::AttentionDecode64,
            Kernel::AttentionDecode128,
            Kernel::AttentionDecode256,
        ])?;
        let Shared {
            heads,
            head_dim,
            stride,
            out_stride,
            out,
            scatter,
            scale,
        } = shared;
        let args = DecodeAttentionArgs {
            q: q.ptr(),
            keys: cache.keys.ptr(),
            values: cache.values.ptr(),
            tables: rows.tables.ptr(),
            rows: rows.rows.map_or(std::ptr::null(), |rows| rows.ptr()),
            positions: rows.positions.ptr(),
            parts: scratch.parts.ptr_mut(),
            tickets: scratch.tickets.ptr_mut(),
            out,
            scatter,
            max_blocks: count(OP, "max_blocks", rows.max_blocks)?,
            heads,
            head_dim,
            stride,
            out_stride,
            scale,
        };
        let grid = (
            count(OP, "splits", splits)?,
            heads,
            count(OP, "sequences", rows.count)?,
        );
        // SAFETY: the only argument is `DecodeAttentionArgs`, field for field as in
        // kernels/attention_decode.cu; extents were checked above, tables, rows and positions by
        // the caller.
        unsafe { self.launch(kernel, Geometry { grid, block: 128 }, params![args]) }
    }
}
