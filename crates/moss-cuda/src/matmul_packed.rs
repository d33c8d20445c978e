//! Matrix products of prefill with packed weights on sm_90: producer warps dequantize the weight
//! into shared memory, consumer warps multiply it with `wgmma`.

use moss_weights::{KernelError, Rule};

use crate::{
    args::MatmulArgs,
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::TILE,
    operands::LinearInput,
    product::{MAX_SEMAPHORES, Product, ProductScratch},
    weights::{Format, GpuLinear},
};

const OP: &str = "matmul";

/// Threads of a block.
const THREADS: u32 = 640;

/// Thread blocks per column of tiles for a product that is added. With few tokens, one block per
/// tile leaves multiprocessors idle, so a tile is split over its inputs.
const BLOCKS_PER_COLUMN: usize = 4;

/// Fewest blocks of inputs of a split: below, its prologue and epilogue dominate.
const LEAST_BLOCKS: usize = 16;

impl Gpu {
    /// As [`Gpu::matmul`], which has checked the extents.
    pub(crate) fn matmul_packed(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        product: Product<'_>,
        scratch: &ProductScratch,
    ) -> Result<(), KernelError> {
        let call = Call::new(self, OP);
        let row_tiles = n.div_ceil(MatmulArgs::TOKENS);
        let tiles = row_tiles * (linear.tiles() * TILE).div_ceil(MatmulArgs::OUTPUTS);
        let (kernel, y, y_stride, splits) = match product {
            Product::Store(y, stride) => {
                rule(
                    OP,
                    "output stride",
                    stride,
                    stride.is_multiple_of(8),
                    Rule::MultipleOf(8),
                )?;
                let kernel = kernel_for(linear.format, [Kernel::INT4_STORE, Kernel::INT8_STORE])?;
                let y = call.output("output", y, n * stride)?.cast();
                (kernel, y, stride, 1)
            }
            Product::Add(y, stride) => {
                let wanted = (BLOCKS_PER_COLUMN / row_tiles).min(linear.blocks / LEAST_BLOCKS);
                let splits = if tiles <= MAX_SEMAPHORES {
                    wanted.max(1)
                } else {
                    1
                };
                let kernel = kernel_for(linear.format, [Kernel::INT4_ADD, Kernel::INT8_ADD])?;
                let y = call.output("output", y, n * stride)?.cast();
                (kernel, y, stride, splits)
            }
        };
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride.is_multiple_of(8),
            Rule::MultipleOf(8),
        )?;
        let [weight, table] = linear.addresses(&call)?;
        // Only the tiles of a product that is split wait for each other.
        let waiting_tiles = if splits > 1 { tiles } else { 0 };
        let args = MatmulArgs {
            weight,
            table,
            x: call.input("input", x.values, n * x.stride)?,
            y,
            turns: call.output("semaphores", &scratch.semaphores, waiting_tiles)?,
            tiles: count(OP, "tiles", linear.tiles())?,
            blocks: count(OP, "blocks", linear.blocks)?,
            groups: count(OP, "groups", linear.groups)?,
            group_magic: linear.group_magic,
            outputs: count(OP, "outputs", linear.out_features)?,
            n: count(OP, "tokens", n)?,
            x_stride: count(OP, "input stride", x.stride)?,
            y_stride: count(OP, "output stride", y_stride)?,
            splits: count(OP, "splits", splits)?,
        };
        count(OP, "input", n * x.stride)?; // the kernel computes offsets of tokens in 32 bits
        let geometry = Geometry {
            grid: (count(OP, "tiles", tiles * splits)?, 1, 1),
            block: THREADS,
        };
        call.launch(kernel, geometry, &args)
    }
}

/// Returns the kernel of the format, from those of int4 and int8.
fn kernel_for(
    format: Format,
    [int4, int8]: [Kernel<MatmulArgs>; 2],
) -> Result<Kernel<MatmulArgs>, KernelError> {
    match format {
        Format::Int4 => Ok(int4),
        Format::Int8 => Ok(int8),
        Format::F16 => Err(KernelError::Argument {
            op: OP,
            arg: "bits",
            found: 16,
            rule: Rule::OneOf(4, 8),
        }),
    }
}
