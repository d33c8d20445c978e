//! Products of many rows: a packed weight by a kernel of our own where the card has it; all else by cuBLAS, over the dense weight or over
//! panels of a packed one.

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::cublas::{result::gemm_ex, sys};
use half::f16;

use super::{
    Buffer, During, Gpu, GpuLinear,
    linear::LinearInput,
    rule,
    weights::{Format, TILE},
};
use crate::{KernelError, fragment::BLOCK};

/// Values of a dequantised panel: 24 MB, which stay in a large card's second-level cache between being made and being read.
pub const PANEL_VALUES: usize = 12_000_000;

/// Output tiles of an added product whose parts can wait for each other.
pub(super) const MAX_TURNS: usize = 4096;

/// What products of many rows need on the way.
#[derive(Debug)]
pub struct ProductScratch {
    /// Part of a packed weight, dense.
    panel: Buffer<f16>,
    /// Zero between products.
    pub(super) turns: Buffer<u32>,
}

impl ProductScratch {
    /// `panel_values` is what the largest packed weight needs, [`PANEL_VALUES`] at most; none is taken where the card needs none.
    ///
    /// # Errors
    /// [`KernelError::Driver`], out of memory for one.
    pub fn new(gpu: &Gpu, panel_values: usize) -> Result<Self, KernelError> {
        let (panel, turns) = if gpu.multiplies_packed() { (0, MAX_TURNS) } else { (panel_values, 0) };
        Ok(Self { panel: gpu.zeros(panel)?, turns: gpu.zeros(turns)? })
    }
}

/// Where a product goes.
#[derive(Debug, Clone, Copy)]
pub enum Product<'a> {
    /// `[rows, stride]` f16.
    Store(&'a Buffer<f16>, usize),
    /// `[rows, stride]` f32, added to what is there.
    Add(&'a Buffer<f32>, usize),
}

/// A part of a dense matrix: `outputs` rows of `inputs` values, `stride` apart.
struct Dense {
    start: *const c_void,
    outputs: usize,
    inputs: usize,
    stride: usize,
}

impl Gpu {
    /// `x W^T` for `n` rows, f16 products summed in f32.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::Driver`].
    pub fn matmul(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        product: Product<'_>,
        scratch: &ProductScratch,
    ) -> Result<(), KernelError> {
        const OP: &str = "matmul";
        let outputs = linear.out_features;
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride >= linear.input_stride(),
            format!("at least {}", linear.input_stride()),
        )?;
        rule(
            OP,
            "input",
            x.values.len(),
            x.values.len() >= n * x.stride,
            format!("at least {}", n * x.stride),
        )?;
        let (len, stride) = match product {
            Product::Store(y, stride) => (y.len(), stride),
            Product::Add(y, stride) => (y.len(), stride),
        };
        rule(OP, "output", len, stride >= outputs && len >= n * stride, format!("at least {}", n * outputs))?;
        if linear.format == Format::F16 {
            let (inputs, start) = (linear.input_stride(), linear.weight.ptr().cast());
            return self.gemm(Dense { start, outputs, inputs, stride: inputs }, x, 0, n, product, 0);
        }
        if self.multiplies_packed() {
            return self.matmul_packed(linear, x, n, product, scratch);
        }
        let panel = &scratch.panel;
        // A product that is added up can take its inputs in parts, and then has all outputs at once to share out over the card; one
        // that is stored, and rounded, takes them whole.
        let (tiles, blocks) = match product {
            Product::Store(..) => ((PANEL_VALUES / (linear.blocks * BLOCK) / TILE).max(1), linear.blocks),
            Product::Add(..) => (linear.tiles(), (PANEL_VALUES / (linear.tiles() * TILE) / BLOCK).max(1)),
        };
        for first_tile in (0..linear.tiles()).step_by(tiles) {
            let tiles = tiles.min(linear.tiles() - first_tile);
            for first_block in (0..linear.blocks).step_by(blocks) {
                let blocks = blocks.min(linear.blocks - first_block);
                self.dequantize(linear, (first_tile, tiles), (first_block, blocks), panel)?;
                let outputs = (tiles * TILE).min(outputs - first_tile * TILE);
                let inputs = blocks * BLOCK;
                let dense = Dense { start: panel.ptr().cast(), outputs, inputs, stride: inputs };
                self.gemm(dense, x, first_block * BLOCK, n, product, first_tile * TILE)?;
            }
        }
        Ok(())
    }

    /// One call of cuBLAS: inputs from `first_input` on, outputs from `first_output` on.
    fn gemm(
        &self,
        weight: Dense,
        x: LinearInput<'_>,
        first_input: usize,
        n: usize,
        product: Product<'_>,
        first_output: usize,
    ) -> Result<(), KernelError> {
        use sys::{cublasOperation_t as Op, cudaDataType_t as Type};
        const OP: &str = "matmul";
        let int = |arg, n: usize| {
            i32::try_from(n).map_err(|_| KernelError::Argument {
                op: OP,
                arg,
                found: n,
                rule: "below 2^31".into(),
            })
        };
        let b = x.values.ptr().wrapping_add(first_input);
        let (c, c_type, stride, beta) = match product {
            Product::Store(y, stride) => {
                (y.ptr_mut().wrapping_add(first_output).cast::<c_void>(), Type::CUDA_R_16F, stride, 0.0f32)
            }
            Product::Add(y, stride) => {
                (y.ptr_mut().wrapping_add(first_output).cast(), Type::CUDA_R_32F, stride, 1.0)
            }
        };
        let alpha = 1.0f32;
        // cuBLAS counts in columns: its A is the weight, transposed; its C is y, `[outputs, rows]`.
        // SAFETY: `matmul` checked every extent; alpha and beta are locals that outlive the call, which copies them.
        unsafe {
            gemm_ex(
                *self.device.cublas_handle().handle(),
                Op::CUBLAS_OP_T,
                Op::CUBLAS_OP_N,
                int("outputs", weight.outputs)?,
                int("rows", n)?,
                int("inputs", weight.inputs)?,
                (&raw const alpha).cast(),
                weight.start,
                Type::CUDA_R_16F,
                int("weight stride", weight.stride)?,
                b.cast(),
                Type::CUDA_R_16F,
                int("input stride", x.stride)?,
                (&raw const beta).cast(),
                c,
                c_type,
                int("output stride", stride)?,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .during(OP)
    }
}
