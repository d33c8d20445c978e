//! Matrix products of prefill (GEMM): packed weights by the kernel of `matmul_packed.rs` where the
//! GPU has it, otherwise by cuBLAS over dequantized panels; dense weights by cuBLAS.

use half::f16;
use moss_weights::{KernelError, Rule};

use crate::{
    buffer::View,
    contract::rule,
    cublas::{Gemm, Matrix, Operand, Values},
    device::Gpu,
    layout::{BLOCK, PANEL_VALUES, TILE},
    operands::LinearInput,
    product::{Product, ProductScratch},
    weights::{Format, GpuLinear},
};

const OP: &str = "matmul";

/// A dense part of a weight: outputs from `first_output` and inputs from `first_input` on.
struct DensePart<'a> {
    values: View<'a, f16>,
    outputs: usize,
    inputs: usize,
    first_output: usize,
    first_input: usize,
}

impl Gpu {
    /// Computes `x W^T` for `n` tokens: f16 products, summed in f32.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::LibraryMissing`]; [`KernelError::Driver`].
    pub fn matmul(
        &self,
        linear: &GpuLinear,
        x: LinearInput<'_>,
        n: usize,
        product: Product<'_>,
        scratch: &ProductScratch,
    ) -> Result<(), KernelError> {
        let outputs = linear.out_features;
        rule(
            OP,
            "input stride",
            x.stride,
            x.stride >= linear.input_stride(),
            Rule::AtLeast(linear.input_stride()),
        )?;
        rule(
            OP,
            "input",
            x.values.len(),
            x.values.len() >= n * x.stride,
            Rule::AtLeast(n * x.stride),
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
            Rule::AtLeast(n * outputs),
        )?;
        if linear.format == Format::F16 {
            let part = DensePart {
                values: View::of_bytes(&linear.weight),
                outputs,
                inputs: linear.input_stride(),
                first_output: 0,
                first_input: 0,
            };
            return self.dense_product(&part, x, n, product);
        }
        if self.multiplies_packed() {
            return self.matmul_packed(linear, x, n, product, scratch);
        }
        // A sum can be computed over parts of the inputs, each for all outputs, which keeps the GPU
        // busy. A stored product is rounded to f16, so it needs all inputs at once.
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
                let panel = &scratch.panel;
                self.dequantize(linear, (first_tile, tiles), (first_block, blocks), panel)?;
                let part = DensePart {
                    values: panel.all(),
                    outputs: (tiles * TILE).min(outputs - first_tile * TILE),
                    inputs: blocks * BLOCK,
                    first_output: first_tile * TILE,
                    first_input: first_block * BLOCK,
                };
                self.dense_product(&part, x, n, product)?;
            }
        }
        Ok(())
    }

    /// Multiplies a dense part by cuBLAS.
    fn dense_product(
        &self,
        part: &DensePart<'_>,
        x: LinearInput<'_>,
        n: usize,
        product: Product<'_>,
    ) -> Result<(), KernelError> {
        let matrix = |values, start, stride| Matrix {
            values,
            start,
            stride,
        };
        let (beta, y) = match product {
            Product::Store(y, stride) => {
                (0.0, matrix(Values::F16(y.all()), part.first_output, stride))
            }
            Product::Add(y, stride) => {
                (1.0, matrix(Values::F32(y.all()), part.first_output, stride))
            }
        };
        let gemm = Gemm {
            m: n,
            n: part.outputs,
            k: part.inputs,
            alpha: 1.0,
            a: Operand {
                matrix: matrix(Values::F16(x.values.all()), part.first_input, x.stride),
                transposed: false,
            },
            b: Operand {
                matrix: matrix(Values::F16(part.values), 0, part.inputs),
                transposed: true,
            },
            beta,
            y,
        };
        self.cublas.gemm(OP, &gemm)
    }
}
