//! The Hessian of a layer's inputs, summed up where the network runs.

use candle_core::{DType, Device, Tensor};
use moss_kernels::KernelError;

/// `H = 2 / N * sum of x x^T` over the `N` inputs `x` of a layer: how much an error in one weight costs, beside an error in another.
pub(crate) struct Hessian {
    /// The sum.
    pub(crate) sum: Panels,
    /// Its diagonal, `[in_features]`.
    diagonal: Tensor,
    rows: usize,
}

/// The upper triangle of a matrix `[n, n]` by panels of columns: panel `k` is rows `0..end` of its columns `start..end`. Half the memory of the
/// square, and rows of a panel are one run, as products on a card want them.
pub(crate) struct Panels {
    /// Columns of a panel; the last may have fewer.
    pub(crate) width: usize,
    pub(crate) columns: Vec<Tensor>,
}

impl Hessian {
    pub(crate) fn new(in_features: usize, width: usize, device: &Device) -> Result<Self, KernelError> {
        let panel = |start: usize| {
            let end = in_features.min(start + width);
            Tensor::zeros((end, end - start), DType::F32, device)
        };
        let columns = (0..in_features).step_by(width).map(panel).collect::<Result<_, _>>()?;
        let diagonal = Tensor::zeros(in_features, DType::F32, device)?;
        Ok(Self { sum: Panels { width, columns }, diagonal, rows: 0 })
    }

    /// Adds inputs `[rows, in_features]`.
    pub(crate) fn add(&mut self, inputs: &Tensor) -> Result<(), KernelError> {
        let x = inputs.t()?.contiguous()?; // [in_features, rows]
        for panel in &mut self.sum.columns {
            let (end, width) = panel.dims2()?;
            let own = x.narrow(0, end - width, width)?;
            *panel = (&*panel + x.narrow(0, 0, end)?.matmul(&own.t()?)?)?;
        }
        self.diagonal = (&self.diagonal + x.sqr()?.sum(1)?)?;
        self.rows += inputs.dim(0)?;
        Ok(())
    }

    /// `H[i][i]`
    pub(crate) fn diagonal(&self) -> Result<Vec<f64>, KernelError> {
        let sums: Vec<f32> = self.diagonal.to_vec1()?;
        Ok(sums.into_iter().map(|sum| f64::from(sum) * self.scale()).collect())
    }

    /// What the sum is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        2.0 / self.rows.max(1) as f64
    }
}

impl Panels {
    /// Rows and columns `order` of the symmetric matrix whose upper triangle this is. Takes its square besides.
    pub(crate) fn reordered(self, order: &[usize]) -> Result<Self, KernelError> {
        let n = order.len();
        let Some(device) = self.columns.first().map(|panel| panel.device().clone()) else { return Ok(self) };
        let square = Tensor::zeros((n, n), DType::F32, &device)?;
        for panel in self.columns {
            let (end, width) = panel.dims2()?;
            let start = end - width;
            square.narrow(0, start, width)?.slice_set(&panel.t()?.contiguous()?, 1, 0)?;
            square.narrow(0, 0, end)?.slice_set(&panel, 1, start)?;
        }
        let order = index(order, &device)?;
        let panel = |start: usize| -> Result<Tensor, KernelError> {
            let end = n.min(start + self.width);
            let rows = square.index_select(&order.narrow(0, start, end - start)?, 0)?;
            Ok(rows.index_select(&order.narrow(0, 0, end)?, 1)?.t()?.contiguous()?)
        };
        let columns = (0..n).step_by(self.width).map(panel).collect::<Result<_, _>>()?;
        Ok(Self { width: self.width, columns })
    }
}

/// Row numbers as candle takes them.
pub(crate) fn index(rows: &[usize], device: &Device) -> Result<Tensor, KernelError> {
    Ok(Tensor::from_iter(rows.iter().map(|row| *row as u32), device)?)
}
