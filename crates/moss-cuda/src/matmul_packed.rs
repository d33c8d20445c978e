//! Products of many rows with a packed weight that is made dense in shared memory, on the way to
//! the tensor cores (sm_90).

use half::f16;

use super::{
    BLOCK, Gpu, GpuCode, GpuLinear, Product, ProductScratch, TILE,
    args::MatmulArgs,
    count,
    gemm::MAX_TURNS,
    launch::{Geometry, Kernel, params},
    linear::LinearInput,
    rule,
    weights::Format,
};
use crate::KernelError;

/// Rows of a block of threads.
const ROWS: usize = 128;

/// Its outputs.
const OUTPUTS: usize = 192;

/// Its threads.
const THREADS: u32 = 640;

/// Four stages of the weight's next inputs and eight of the rows', from a multiple of 1024 bytes
/// on.
pub(super) const SHARED_MEMORY: u32 =
    ((4 * OUTPUTS + 8 * ROWS) * BLOCK * size_of::<f16>() + 1024) as u32;

/// Blocks of threads that should share an added product among them: one a tile is too few where
/// rows are few.
const ROW_TILES_TO_FILL_A_CARD: usize = 4;

/// Blocks of inputs below which a part is not worth its beginning and end.
const LEAST_BLOCKS: usize = 16;

impl Gpu {
    /// Whether packed weights are multiplied without a dense copy in memory.
    pub(super) fn multiplies_packed(&self) -> bool {
        self.info().code == GpuCode::Machine(90)
    }

    /// As [`Gpu::matmul`], which has checked the extents.
    pub(super) fn matmul_packed(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        product: Product<'_>,
        scratch: &ProductScratch,
    ) -> Result<(), KernelError> {
        const OP: &str = "matmul";
        let row_tiles = n.div_ceil(ROWS);
        let tiles = row_tiles * (linear.tiles() * TILE).div_ceil(OUTPUTS);
        let (kernel, y, y_stride, splits) = match product {
            Product::Store(y, stride) => {
                rule(
                    OP,
                    "output stride",
                    stride,
                    stride.is_multiple_of(8),
                    "a multiple of 8",
                )?;
                let kernel = kernel_for(
                    linear.format,
                    Kernel::MatmulInt4Store,
                    Kernel::MatmulInt8Store,
                )?;
                (kernel, y.ptr_mut().cast(), stride, 1)
            }
            Product::Add(y, stride) => {
                let wanted =
                    (ROW_TILES_TO_FILL_A_CARD / row_tiles).min(linear.blocks / LEAST_BLOCKS);
                let splits = if tiles <= MAX_TURNS { wanted.max(1) } else { 1 };
                let kernel =
                    kernel_for(linear.format, Kernel::MatmulInt4Add, Kernel::MatmulInt8Add)?;
                (kernel, y.ptr_mut().cast(), stride, splits)
            }
        };
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride.is_multiple_of(8),
            "a multiple of 8",
        )?;
        let args = MatmulArgs {
            weight: linear.weight.ptr(),
            table: linear
                .table
                .as_ref()
                .map_or(std::ptr::null(), super::Buffer::ptr),
            x: x.values.ptr(),
            y,
            turns: scratch.turns.ptr_mut(),
            tiles: count(OP, "tiles", linear.tiles())?,
            blocks: count(OP, "blocks", linear.blocks)?,
            groups: count(OP, "groups", linear.groups)?,
            group_magic: linear.group_magic,
            outputs: count(OP, "outputs", linear.out_features)?,
            n: count(OP, "rows", n)?,
            x_stride: count(OP, "input stride", x.stride)?,
            y_stride: count(OP, "output stride", y_stride)?,
            splits: count(OP, "parts", splits)?,
        };
        count(OP, "input", n * x.stride)?; // the kernel counts in 32 bits where its rows begin
        let geometry = Geometry {
            grid: (count(OP, "tiles", tiles * splits)?, 1, 1),
            block: THREADS,
        };
        // SAFETY: the only argument is `MatmulArgs`, field for field as in
        // kernels/matmul_packed.cu. `matmul` checked that x and y hold `n` rows of the weight's
        // inputs and outputs; `turns` has a place for each of the tiles wherever there are parts to
        // wait for.
        unsafe { self.launch(kernel, geometry, params![args]) }
    }
}

fn kernel_for(format: Format, int4: Kernel, int8: Kernel) -> Result<Kernel, KernelError> {
    match format {
        Format::Int4 => Ok(int4),
        Format::Int8 => Ok(int8),
        Format::F16 => Err(KernelError::Argument {
            op: "matmul",
            arg: "bits",
            found: 16,
            rule: "4 or 8".into(),
        }),
    }
}
