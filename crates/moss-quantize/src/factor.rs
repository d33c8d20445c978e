//! The linear algebra of GPTQ: the triangular factor of a Hessian, and the corrections computed from
//! it.
//!
//! In f32, as in the paper's code: dampening bounds the condition number. Products run on the device
//! of the Hessian. Diagonal blocks are factored on the host.

mod diagonal;

use moss_weights::KernelError;
use rayon::prelude::*;

use self::diagonal::factor_block;
use crate::{
    device::Device,
    hessian::{Hessian, Panels},
    matrix::{Matrix, Store},
};

/// `R`, upper triangular, of `H = R R^T`.
///
/// Let `D` be the rounding errors of the weights `[outputs, inputs]` so far. The squared error of the
/// outputs is `|D R|^2`, and column `j` of `D R` depends on inputs `0..=j` only. Once the inputs
/// before `j` are rounded, the weight of `j` that compensates best is
/// `w[j] + (D R)[j] / R[j][j]`. For a block `J` of inputs that is `W[J] + (D R)[J] U`, where `U` is
/// the inverse of the block `R[J][J]`. The usual form of GPTQ computes the inverse of the whole `R`
/// and corrects all later weights at once. This form corrects one block at a time and inverts
/// diagonal blocks only.
pub(crate) struct Factor {
    /// Inputs in the order in which they are rounded.
    pub(crate) order: Vec<usize>,
    /// Inputs that are always zero, whose weights have no effect.
    pub(crate) dead: Vec<bool>,
    /// `R`
    panels: Panels,
    /// The inverses of its diagonal blocks, each `[width, width]` row-major and upper triangular.
    inverses: Vec<Vec<f32>>,
}

impl Factor {
    /// Factors `H`, with `dampening` times its mean diagonal added to the diagonal. With `act_order`,
    /// inputs with the largest diagonal come first. Returns `None` if the sum is not positive
    /// definite.
    pub(crate) fn new(
        hessian: Hessian,
        act_order: bool,
        dampening: f64,
    ) -> Result<Option<Self>, KernelError> {
        let mut panels = hessian.into_panels();
        let diagonal = panels.diagonal()?;
        let n = diagonal.len();
        let mut order: Vec<usize> = (0..n).collect();
        if act_order {
            order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a])); // a stable sort
            panels = panels.reordered(&order)?;
        }
        let dead: Vec<bool> = diagonal.iter().map(|value| *value == 0.0).collect();
        let dampening = dampening * diagonal.iter().sum::<f64>() / n as f64;
        let added: Vec<f64> = order
            .iter()
            .map(|input| dampening + f64::from(u8::from(dead[*input])))
            .collect();

        // From the last panel to the first: H[.., k] = sum of R[.., j] R[k, j]^T over the panels j
        // from k on.
        let mut inverses = vec![vec![]; panels.columns.len()];
        for k in (0..panels.columns.len()).rev() {
            let (before, later) = panels.columns.split_at_mut(k + 1);
            let panel = &mut before[k];
            let (end, width) = (panel.rows(), panel.columns());
            let start = end - width;
            for later in later.iter() {
                panel.gemm(
                    0..end,
                    -1.0,
                    &later.part(0..end),
                    &later.part(start..end).transposed(),
                    Store::Add,
                )?;
            }
            let block = panel.to_host(start..end)?;
            let Some((block, inverse)) = factor_block(&block, &added[start..end])? else {
                return Ok(None);
            };
            if start > 0 {
                let inverse = Matrix::new(panel.device(), &inverse, width)?;
                let above = Matrix::product(&panel.part(0..start), &inverse.all().transposed())?;
                panel.copy(0, &above, 0..start)?;
            }
            panel.write(start, &block)?;
            inverses[k] = inverse;
        }
        Ok(Some(Self {
            order,
            dead,
            panels,
            inverses,
        }))
    }

    /// Returns the device of the products.
    pub(crate) fn device(&self) -> &Device {
        self.panels
            .columns
            .first()
            .map_or(&Device::Cpu, Matrix::device)
    }

    /// Returns `U` of the inputs `first..first + count` in the order, which are in one panel:
    /// `[count, count]` row-major.
    pub(crate) fn inverse(&self, first: usize, count: usize) -> Vec<f32> {
        let (panel, local) = (first / self.panels.width, first % self.panels.width);
        let inverse = &self.inverses[panel];
        let width = inverse.len().isqrt();
        (0..count)
            .flat_map(|row| &inverse[(local + row) * width + local..][..count])
            .copied()
            .collect()
    }

    /// Corrects the weights of the inputs from `first` on, `own` `[count, outputs]`, for `errors`
    /// `[in_features, outputs]`, the transpose of `D`, of which only rows before `first` are read.
    /// `inverse` is [`Self::inverse`] of these inputs.
    pub(crate) fn correct(
        &self,
        own: &mut Matrix,
        first: usize,
        inverse: &[f32],
        errors: &Matrix,
    ) -> Result<(), KernelError> {
        let count = inverse.len().isqrt();
        let (panel, local) = (first / self.panels.width, first % self.panels.width);
        let above = self.panels.columns[panel]
            .part(0..first)
            .columns(local..local + count);
        let sums = Matrix::product(&above.transposed(), &errors.part(0..first))?;
        let inverse = Matrix::new(errors.device(), inverse, count)?;
        own.gemm(
            0..count,
            1.0,
            &inverse.all().transposed(),
            &sums.all(),
            Store::Add,
        )
    }

    /// Computes `trace(W H W^T)`, the sum of squares of the layer's outputs except for a constant
    /// factor. `w` is the transpose of `W`, `[in_features, outputs]` in the factor's order.
    pub(crate) fn energy(&self, w: &Matrix) -> Result<f64, KernelError> {
        let mut energy = 0.0;
        for panel in &self.panels.columns {
            let rows = panel.rows();
            let product = Matrix::product(&panel.all().transposed(), &w.part(0..rows))?;
            let values = product.to_host(0..product.rows())?;
            // The order of additions, and thus the report, is independent of the number of threads.
            let squares = |row: &[f32]| {
                row.iter()
                    .map(|value| f64::from(*value).powi(2))
                    .sum::<f64>()
            };
            energy += values
                .par_chunks(w.columns().max(1))
                .map(squares)
                .collect::<Vec<_>>()
                .iter()
                .sum::<f64>();
        }
        Ok(energy)
    }
}

#[cfg(test)]
mod tests;
