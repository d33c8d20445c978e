//! Products of many rows: a packed weight by a kernel of our own where the card has it; all else by
//! cuBLAS, over the dense weight or over panels of a packed one.

use std::ffi::c_void;

use half::f16;

use super::{
    BLOCK, Buffer, Gpu, GpuLinear, PANEL_VALUES, TILE,
    cublas::{DataType, Gemm, Operand},
    linear::LinearInput,
    rule,
    weights::Format,
};
use crate::KernelError;

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
    /// `panel_values` is what the largest packed weight needs, [`PANEL_VALUES`] at most; none is
    /// taken where the card needs none.
    ///
    /// # Errors
    /// [`KernelError::Driver`], out of memory for one.
    pub fn new(gpu: &Gpu, panel_values: usize) -> Result<Self, KernelError> {
        let (panel, turns) = if gpu.multiplies_packed() {
            (0, MAX_TURNS)
        } else {
            (panel_values, 0)
        };
        Ok(Self {
            panel: gpu.zeros(panel)?,
            turns: gpu.zeros(turns)?,
        })
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
        rule(
            OP,
            "output",
            len,
            stride >= outputs && len >= n * stride,
            format!("at least {}", n * outputs),
        )?;
        if linear.format == Format::F16 {
            let (inputs, start) = (linear.input_stride(), linear.weight.ptr().cast());
            return self.gemm(
                Dense {
                    start,
                    outputs,
                    inputs,
                    stride: inputs,
                },
                x,
                0,
                n,
                product,
                0,
            );
        }
        if self.multiplies_packed() {
            return self.matmul_packed(linear, x, n, product, scratch);
        }
        let panel = &scratch.panel;
        // A product that is added up can take its inputs in parts, and then has all outputs at once
        // to share out over the card; one that is stored, and rounded, takes them whole.
        let (tiles, blocks) = match product {
            Product::Store(..) => (
                (PANEL_VALUES / (linear.blocks * BLOCK) / TILE).max(1),
                linear.blocks,
            ),
            Product::Add(..) => (
                linear.tiles(),
                (PANEL_VALUES / (linear.tiles() * TILE) / BLOCK).max(1),
            ),
        };
        for first_tile in (0..linear.tiles()).step_by(tiles) {
            let tiles = tiles.min(linear.tiles() - first_tile);
            for first_block in (0..linear.blocks).step_by(blocks) {
                let blocks = blocks.min(linear.blocks - first_block);
                self.dequantize(linear, (first_tile, tiles), (first_block, blocks), panel)?;
                let outputs = (tiles * TILE).min(outputs - first_tile * TILE);
                let inputs = blocks * BLOCK;
                let dense = Dense {
                    start: panel.ptr().cast(),
                    outputs,
                    inputs,
                    stride: inputs,
                };
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
        let x = Operand {
            start: x.values.ptr().wrapping_add(first_input).cast(),
            dtype: DataType::F16,
            stride: x.stride,
            transposed: false,
        };
        let (start, dtype) = (weight.start, DataType::F16);
        let weight_operand = Operand {
            start,
            dtype,
            stride: weight.stride,
            transposed: true,
        };
        let (y, y_dtype, y_stride, beta) = match product {
            Product::Store(y, stride) => (
                y.ptr_mut().wrapping_add(first_output).cast::<c_void>(),
                DataType::F16,
                stride,
                0.0,
            ),
            Product::Add(y, stride) => (
                y.ptr_mut().wrapping_add(first_output).cast(),
                DataType::F32,
                stride,
                1.0,
            ),
        };
        let (m, n, k) = (n, weight.outputs, weight.inputs);
        let gemm = Gemm {
            m,
            n,
            k,
            alpha: 1.0,
            a: x,
            b: weight_operand,
            beta,
            y,
            y_dtype,
            y_stride,
        };
        // SAFETY: `matmul` checked every extent against the buffers, which are of this stream.
        unsafe { self.cublas.gemm("matmul", &gemm) }
    }
}
