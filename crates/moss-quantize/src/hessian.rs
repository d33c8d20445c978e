//! The Hessian of a layer's inputs, accumulated on the device.

use moss_weights::KernelError;

use crate::{
    device::Device,
    matrix::{Matrix, Store},
};

/// `H = 2 / N * sum of x x^T` over the `N` inputs `x` of a layer: the second derivatives of the
/// squared output error with respect to the weights.
pub(crate) struct Hessian {
    panels: Panels,
    /// `2 / N`
    scale: f32,
}

/// The upper triangle of a matrix `[n, n]` as panels of columns: panel `k` contains rows `0..end` of
/// columns `start..end`. This takes half the memory of the square, and the rows of a panel are
/// contiguous, as products require.
pub(crate) struct Panels {
    /// Columns of a panel; the last may have fewer.
    pub(crate) width: usize,
    pub(crate) columns: Vec<Matrix>,
}

impl Hessian {
    /// Returns a zero Hessian, for `rows` inputs.
    pub(crate) fn new(
        in_features: usize,
        width: usize,
        rows: usize,
        device: &Device,
    ) -> Result<Self, KernelError> {
        let panel = |start: usize| {
            let end = in_features.min(start + width);
            Matrix::zeros(device, end, end - start)
        };
        let columns = (0..in_features)
            .step_by(width)
            .map(panel)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            panels: Panels { width, columns },
            scale: 2.0 / rows.max(1) as f32,
        })
    }

    /// Adds inputs `[rows, in_features]`.
    pub(crate) fn add(&mut self, inputs: &Matrix) -> Result<(), KernelError> {
        for panel in &mut self.panels.columns {
            let (end, width) = (panel.rows(), panel.columns());
            let left = inputs.all().columns(0..end).transposed();
            panel.gemm(
                0..end,
                self.scale,
                &left,
                &inputs.all().columns(end - width..end),
                Store::Add,
            )?;
        }
        Ok(())
    }

    /// Returns `H`.
    pub(crate) fn into_panels(self) -> Panels {
        self.panels
    }
}

impl Panels {
    /// Returns the elements `[i][i]`.
    pub(crate) fn diagonal(&self) -> Result<Vec<f64>, KernelError> {
        let mut diagonal = Vec::new();
        for panel in &self.columns {
            let (end, width) = (panel.rows(), panel.columns());
            let block = panel.to_host(end - width..end)?;
            diagonal.extend(
                block
                    .iter()
                    .step_by(width + 1)
                    .map(|value| f64::from(*value)),
            );
        }
        Ok(diagonal)
    }

    /// Reorders rows and columns of the symmetric matrix.
    pub(crate) fn reordered(self, order: &[usize]) -> Result<Self, KernelError> {
        let mut place = vec![0u32; order.len()];
        order
            .iter()
            .enumerate()
            .for_each(|(to, from)| place[*from] = to as u32);
        Ok(Self {
            width: self.width,
            columns: Matrix::permute_upper(self.columns, self.width, &place)?,
        })
    }
}
