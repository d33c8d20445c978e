//! Products with few rows: weights read once, with what comes before and after in the same launch.

use half::f16;

use super::{
    Buffer, FEW_ROWS, Gpu, GpuLinear, HeadTargets,
    args::{Epilogue, Heads, LinearArgs, Segment},
    buffer::View,
    count,
    launch::{Geometry, Kernel, params},
    rule,
    weights::Format,
};
use crate::KernelError;

const OP: &str = "linear";

/// Warps of a block, which share out the inputs.
const MAX_WARPS: usize = 8;

/// Two linear layers that run as one launch where their formats allow.
#[derive(Debug)]
pub struct LinearPair {
    /// qkv_proj or out_proj.
    pub first: GpuLinear,
    /// fc_in or fc_out.
    pub second: GpuLinear,
}

/// Rows of a product's input: `[rows, stride]`, in the order of the weight's places.
#[derive(Debug, Clone, Copy)]
pub struct LinearInput<'a> {
    /// The values.
    pub values: &'a Buffer<f16>,
    /// Values from one row to the next.
    pub stride: usize,
}

impl GpuLinear {
    /// Blocks that share their scales.
    fn group_blocks(&self) -> usize {
        match self.group_magic {
            _ if self.groups <= 1 => self.blocks,
            0 => 1,
            // the magic is rounded up
            magic => (((1u64 << 32) + u64::from(magic) / 2) / u64::from(magic)) as usize,
        }
    }

    fn segment(&self, x: LinearInput<'_>, n: usize) -> Result<Segment, KernelError> {
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride >= self.input_stride() && x.stride.is_multiple_of(8),
            format!("a multiple of 8, at least {}", self.input_stride()),
        )?;
        rule(
            OP,
            "input length",
            x.values.len(),
            x.values.len() >= n * x.stride,
            format!("at least {}", n * x.stride),
        )?;
        let group_blocks = self.group_blocks();
        let pairs = self.format == Format::Int4
            && [self.blocks, group_blocks]
                .iter()
                .all(|n| n.is_multiple_of(2));
        Ok(Segment {
            weight: self.weight.ptr(),
            table: self.table.as_ref().map_or(std::ptr::null(), Buffer::ptr),
            x: x.values.ptr(),
            x_stride: count(OP, "input stride", x.stride)?,
            blocks: count(OP, "blocks", self.blocks)?,
            groups: count(OP, "groups", self.groups)?,
            group_blocks: count(OP, "blocks of a group", group_blocks)?,
            unit_blocks: if pairs { 2 } else { 1 },
        })
    }
}

/// Where a non-finite value is reported, and as which layer's.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// `u64::MAX`, or `layer << 48 | row << 32 | bits`.
    pub flag: &'a Buffer<u64>,
    /// The layer that runs.
    pub layer: usize,
}

impl Gpu {
    /// `out[row] = W x[row] + bias`, f32, for up to [`FEW_ROWS`] rows; row `i` goes to row
    /// `first_row + i` of `out`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::Driver`].
    pub fn linear_store(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        out: View<'_, f32>,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        let stride = linear.out_features;
        rule(
            OP,
            "output length",
            out.len,
            out.len >= n * stride,
            format!("at least {}", n * stride),
        )?;
        let args = LinearArgs {
            segments: [linear.segment(x, n)?, Segment::NONE],
            out: out.ptr_mut(),
            bias: linear.bias.as_ref().map_or(std::ptr::null(), Buffer::ptr),
            ..self.base_args(linear, n, Epilogue::Store, watch)?
        };
        self.launch_linear(linear.format, n, linear.tiles(), linear.blocks, args)
    }

    /// `stream[row] += first x1[row] + second x2[row] + second's bias`, f32.
    ///
    /// `x2` is read before the launch in front of this one is over: nothing in flight may write it
    /// but what that launch waited for, as [`Gpu::linear_heads`] is for attention's.
    ///
    /// # Errors
    /// As for [`Gpu::linear_store`].
    pub fn linear_residual(
        &self,
        pair: &LinearPair,
        x: [LinearInput<'_>; 2],
        n: usize,
        stream: &Buffer<f32>,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        let LinearPair { first, second } = pair;
        let hidden = first.out_features;
        rule(
            OP,
            "out_features",
            second.out_features,
            second.out_features == hidden,
            hidden.to_string(),
        )?;
        rule(
            OP,
            "stream length",
            stream.len(),
            stream.len() >= n * hidden,
            format!("at least {}", n * hidden),
        )?;
        let segments = [first.segment(x[0], n)?, second.segment(x[1], n)?];
        let base = LinearArgs {
            out: stream.ptr_mut(),
            ..self.base_args(first, n, Epilogue::Residual, watch)?
        };
        let bias = second.bias.as_ref().map_or(std::ptr::null(), Buffer::ptr);
        let blocks = first.blocks + second.blocks;
        if first.format == second.format {
            return self.launch_linear(
                first.format,
                n,
                first.tiles(),
                blocks,
                LinearArgs {
                    segments,
                    bias,
                    ..base
                },
            );
        }
        let alone = |segment, bias| LinearArgs {
            segments: [segment, Segment::NONE],
            bias,
            ..base
        };
        self.launch_linear(
            first.format,
            n,
            first.tiles(),
            blocks,
            alone(segments[0], std::ptr::null()),
        )?;
        self.launch_linear(
            second.format,
            n,
            first.tiles(),
            blocks,
            alone(segments[1], bias),
        )
    }

    /// qkv_proj's outputs, rotated, to the queries and the cache; fc_in's, through gelu, to the
    /// inputs of fc_out.
    ///
    /// # Errors
    /// As for [`Gpu::linear_store`].
    pub fn linear_heads(
        &self,
        pair: &LinearPair,
        x: [LinearInput<'_>; 2],
        n: usize,
        to: &HeadTargets<'_>,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        let LinearPair { first, second } = pair;
        let heads = to.args(n, first, second)?;
        let segments = [first.segment(x[0], n)?, second.segment(x[1], n)?];
        let first_tiles = count(OP, "tiles", first.tiles())?;
        let base = LinearArgs {
            segments,
            first_tiles,
            heads,
            ..self.base_args(first, n, Epilogue::HeadsAndInner, watch)?
        };
        let (tiles, blocks) = (first.tiles() + second.tiles(), first.blocks);
        if first.format == second.format {
            return self.launch_linear(first.format, n, tiles, blocks, base);
        }
        self.launch_linear(first.format, n, first.tiles(), blocks, base)?;
        self.launch_linear(
            second.format,
            n,
            second.tiles(),
            blocks,
            LinearArgs {
                tile_offset: first_tiles,
                ..base
            },
        )
    }

    fn base_args(
        &self,
        linear: &GpuLinear,
        n: usize,
        epilogue: Epilogue,
        watch: Watch<'_>,
    ) -> Result<LinearArgs, KernelError> {
        rule(
            OP,
            "rows",
            n,
            (1..=FEW_ROWS).contains(&n),
            format!("from 1 to {FEW_ROWS}"),
        )?;
        Ok(LinearArgs {
            segments: [Segment::NONE; 2],
            first_tiles: 0,
            tile_offset: 0,
            rows: count(OP, "outputs", linear.out_features)?,
            n: count(OP, "rows", n)?,
            epilogue,
            layer: count(OP, "layer", watch.layer)?,
            out_stride: linear.out_features as u64,
            out: std::ptr::null_mut(),
            bias: std::ptr::null(),
            non_finite: watch.flag.ptr_mut(),
            heads: Heads::NONE,
        })
    }

    fn launch_linear(
        &self,
        format: Format,
        n: usize,
        tiles: usize,
        blocks: usize,
        args: LinearArgs,
    ) -> Result<(), KernelError> {
        let geometry = Geometry {
            grid: (count(OP, "tiles", tiles)?, 1, 1),
            block: 32 * warps(format, blocks),
        };
        // SAFETY: the only argument is `LinearArgs`, field for field as in
        // kernels/common/linear.cuh. `segment` and the callers checked that the inputs hold `n`
        // rows and the outputs as many; weights and tables were allocated for `tiles` tiles by
        // `empty`.
        unsafe { self.launch(kernel_for(format, n), geometry, params![args]) }
    }
}

/// Warps that share out the inputs: it depends on the weight alone, since it sets the order of
/// sums. Packed weights leave a warp that much less to wait for that it should have twice the
/// blocks.
fn warps(format: Format, blocks: usize) -> u32 {
    let share = if format == Format::F16 { 8 } else { 16 };
    let wanted = (blocks / share).clamp(1, MAX_WARPS);
    1 << wanted.ilog2()
}

fn kernel_for(format: Format, n: usize) -> Kernel {
    match (format, n) {
        (Format::F16, ..=8) => Kernel::LinearF16N8,
        (Format::F16, ..=16) => Kernel::LinearF16N16,
        (Format::F16, ..=32) => Kernel::LinearF16N32,
        (Format::F16, _) => Kernel::LinearF16N64,
        (Format::Int8, ..=8) => Kernel::LinearInt8N8,
        (Format::Int8, ..=16) => Kernel::LinearInt8N16,
        (Format::Int8, ..=32) => Kernel::LinearInt8N32,
        (Format::Int8, _) => Kernel::LinearInt8N64,
        (Format::Int4, ..=8) => Kernel::LinearInt4N8,
        (Format::Int4, ..=16) => Kernel::LinearInt4N16,
        (Format::Int4, ..=32) => Kernel::LinearInt4N32,
        (Format::Int4, _) => Kernel::LinearInt4N64,
    }
}
