//! Matrices in f32 on a GPU, for work that goes layer by layer (GPTQ): products by cuBLAS, and what
//! stands between them.

mod heads;

use std::ops::Range;

use crate::{
    Buffer, During, Gpu, KernelError, count,
    cublas::{DataType, Gemm, Operand},
    launch::{Geometry, Kernel, params},
    rule,
};

pub use heads::{F32Angles, SplitHeads};

/// Threads of a block, as in kernels/f32_ops.cu.
const THREADS: usize = 256;

/// `[rows, columns]` f32, row-major.
#[derive(Debug)]
pub struct F32Matrix {
    values: Buffer<f32>,
    rows: usize,
    columns: usize,
}

/// Part of a matrix, as a product takes it.
#[derive(Debug, Clone)]
pub struct F32Part<'a> {
    /// The matrix.
    pub matrix: &'a F32Matrix,
    /// Its rows that take part.
    pub rows: Range<usize>,
    /// Its columns that take part.
    pub columns: Range<usize>,
    /// Whether the product takes the transpose of the part.
    pub transposed: bool,
}

impl F32Matrix {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn check_rows(&self, op: &'static str, rows: &Range<usize>) -> Result<(), KernelError> {
        rule(
            op,
            "rows",
            rows.end,
            rows.start <= rows.end && rows.end <= self.rows,
            format!("at most {}", self.rows),
        )
    }
}

impl F32Part<'_> {
    /// Rows and columns of what the product takes.
    fn extents(&self) -> (usize, usize) {
        match self.transposed {
            true => (self.columns.len(), self.rows.len()),
            false => (self.rows.len(), self.columns.len()),
        }
    }

    fn operand(&self, op: &'static str) -> Result<Operand, KernelError> {
        self.matrix.check_rows(op, &self.rows)?;
        let (columns, all) = (&self.columns, self.matrix.columns);
        rule(
            op,
            "columns",
            columns.end,
            columns.start <= columns.end && columns.end <= all,
            format!("at most {all}"),
        )?;
        let start = self.matrix.values.ptr().cast();
        let whole = Operand {
            start,
            dtype: DataType::F32,
            stride: all,
            transposed: self.transposed,
        };
        Ok(whole.at(self.rows.start * all + columns.start))
    }
}

impl Gpu {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn f32_zeros(&self, rows: usize, columns: usize) -> Result<F32Matrix, KernelError> {
        Ok(F32Matrix {
            values: self.zeros(rows * columns)?,
            rows,
            columns,
        })
    }

    /// A copy of `values`, rows of `columns`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a row that is not whole; [`KernelError::OutOfMemory`].
    pub fn f32_upload(&self, values: &[f32], columns: usize) -> Result<F32Matrix, KernelError> {
        let whole = columns > 0 && values.len().is_multiple_of(columns);
        rule(
            "upload",
            "values",
            values.len(),
            whole,
            format!("a multiple of {columns}"),
        )?;
        Ok(F32Matrix {
            values: self.upload(values)?,
            rows: values.len() / columns,
            columns,
        })
    }

    /// The values of some rows, on the host, which waits for them.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for rows that are not there; [`KernelError::Driver`].
    pub fn f32_download(
        &self,
        from: &F32Matrix,
        rows: Range<usize>,
    ) -> Result<Vec<f32>, KernelError> {
        const WHAT: &str = "copy from the GPU";
        from.check_rows(WHAT, &rows)?;
        let mut values = vec![0.0f32; rows.len() * from.columns];
        if !values.is_empty() {
            self.stream.context().bind_to_thread().during(WHAT)?;
            let at = from.values.address() + (rows.start * from.columns * size_of::<f32>()) as u64;
            // SAFETY: the rows were checked; the host waits before it looks at them.
            unsafe {
                cudarc::driver::result::memcpy_dtoh_async(&mut values, at, self.stream.cu_stream())
            }
            .during(WHAT)?;
            self.synchronize()?;
        }
        Ok(values)
    }

    /// Writes `values` over the rows from `first` on; the host waits.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn f32_write(
        &self,
        to: &mut F32Matrix,
        first: usize,
        values: &[f32],
    ) -> Result<(), KernelError> {
        const WHAT: &str = "copy to the GPU";
        let rows = values.len() / to.columns.max(1);
        rule(
            WHAT,
            "values",
            values.len(),
            values.len() == rows * to.columns,
            format!("a multiple of {}", to.columns),
        )?;
        to.check_rows(WHAT, &(first..first + rows))?;
        if !values.is_empty() {
            self.stream.context().bind_to_thread().during(WHAT)?;
            let at = to.values.address() + (first * to.columns * size_of::<f32>()) as u64;
            // SAFETY: the rows were checked; the host waits before `values` may go.
            unsafe {
                cudarc::driver::result::memcpy_htod_async(at, values, self.stream.cu_stream())
            }
            .during(WHAT)?;
            self.synchronize()?;
        }
        Ok(())
    }

    /// Copies rows of `from` over the rows of `to` from `first` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where they do not fit; [`KernelError::Driver`].
    pub fn f32_copy(
        &self,
        from: &F32Matrix,
        rows: Range<usize>,
        to: &mut F32Matrix,
        first: usize,
    ) -> Result<(), KernelError> {
        const WHAT: &str = "copy within the GPU";
        from.check_rows(WHAT, &rows)?;
        to.check_rows(WHAT, &(first..first + rows.len()))?;
        rule(
            WHAT,
            "columns",
            to.columns,
            to.columns == from.columns,
            from.columns.to_string(),
        )?;
        self.stream.context().bind_to_thread().during(WHAT)?;
        let row = from.columns * size_of::<f32>();
        let source = from.values.address() + (rows.start * row) as u64;
        let target = to.values.address() + (first * row) as u64;
        // SAFETY: both runs of rows were checked; they are of two allocations, since `to` is
        // borrowed mutably.
        unsafe {
            cudarc::driver::result::memcpy_dtod_async(
                target,
                source,
                rows.len() * row,
                self.stream.cu_stream(),
            )
        }
        .during(WHAT)
    }

    /// `y[rows] = alpha op(a) op(b) + beta y[rows]`, in f32.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::LibraryMissing`];
    /// [`KernelError::Driver`].
    pub fn f32_gemm(
        &self,
        (y, rows): (&mut F32Matrix, Range<usize>),
        alpha: f32,
        a: &F32Part<'_>,
        b: &F32Part<'_>,
        beta: f32,
    ) -> Result<(), KernelError> {
        const OP: &str = "gemm";
        y.check_rows(OP, &rows)?;
        let ((m, k), (inner, n)) = (a.extents(), b.extents());
        rule(OP, "rows of a", m, m == rows.len(), rows.len().to_string())?;
        rule(OP, "rows of b", inner, inner == k, k.to_string())?;
        rule(OP, "columns of b", n, n == y.columns, y.columns.to_string())?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let target = y.values.ptr_mut().wrapping_add(rows.start * y.columns);
        let (y_stride, y_dtype) = (y.columns, DataType::F32);
        let (a, b) = (a.operand(OP)?, b.operand(OP)?);
        let gemm = Gemm {
            m,
            n,
            k,
            alpha,
            a,
            b,
            beta,
            y: target.cast(),
            y_dtype,
            y_stride,
        };
        // SAFETY: all extents were checked against the matrices, whose buffers are of this stream;
        // `y` is borrowed mutably, so it is neither operand.
        unsafe { self.cublas.gemm(OP, &gemm) }
    }

    /// Normalizes each row: `(x - mean) / sqrt(variance + epsilon) * weight + bias`; `weight` and
    /// `bias` are `[1, columns]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::OutOfMemory`].
    pub fn f32_layer_norm(
        &self,
        x: &F32Matrix,
        weight: &F32Matrix,
        bias: &F32Matrix,
        epsilon: f64,
    ) -> Result<F32Matrix, KernelError> {
        const OP: &str = "layer_norm";
        self.check_row_vector(OP, "weight", weight, x.columns)?;
        self.check_row_vector(OP, "bias", bias, x.columns)?;
        let result = self.f32_zeros(x.rows, x.columns)?;
        let (source, target) = (x.values.ptr(), result.values.ptr_mut());
        let (weight, bias, columns) = (
            weight.values.ptr(),
            bias.values.ptr(),
            count(OP, "columns", x.columns)?,
        );
        let epsilon = epsilon as f32;
        let geometry = Geometry {
            grid: (count(OP, "rows", x.rows)?, 1, 1),
            block: THREADS as u32,
        };
        // SAFETY: arguments as in kernels/f32_ops.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::LayerNormF32,
                geometry,
                params![source, weight, bias, target, columns, epsilon],
            )?;
        }
        Ok(result)
    }

    /// `x += bias` in every row, `bias` `[1, columns]`; then gelu (tanh form) where `gelu` says so.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit; [`KernelError::Driver`].
    pub fn f32_add_bias(
        &self,
        x: &mut F32Matrix,
        bias: &F32Matrix,
        gelu: bool,
    ) -> Result<(), KernelError> {
        const OP: &str = "add_bias";
        self.check_row_vector(OP, "bias", bias, x.columns)?;
        let geometry = self.by_column(OP, x.columns, x.rows)?;
        let (x, bias, columns) = (
            x.values.ptr_mut(),
            bias.values.ptr(),
            count(OP, "columns", x.columns)?,
        );
        let gelu = u32::from(gelu);
        // SAFETY: arguments as in kernels/f32_ops.cu; extents were checked above.
        unsafe {
            self.launch(
                Kernel::AddBiasF32,
                geometry,
                params![x, bias, columns, gelu],
            )
        }
    }

    /// Reorders a symmetric matrix, given as the upper triangle by panels of columns: panel `k` is
    /// `[end, end - start]` for the columns `start..end` from `k * width` on. Row and column `i` go
    /// to `place[i]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where extents do not fit, or `place` is no permutation;
    /// [`KernelError::OutOfMemory`].
    pub fn f32_permute_upper(
        &self,
        panels: &[F32Matrix],
        width: usize,
        place: &[u32],
    ) -> Result<Vec<F32Matrix>, KernelError> {
        const OP: &str = "permute";
        let n = place.len();
        let mut seen = vec![false; n];
        for to in place {
            let new = seen
                .get_mut(*to as usize)
                .is_some_and(|seen| !std::mem::replace(seen, true));
            rule(
                OP,
                "place",
                *to as usize,
                new,
                format!("below {n}, and once"),
            )?;
        }
        rule(
            OP,
            "panels",
            panels.len(),
            width > 0 && panels.len() == n.div_ceil(width.max(1)),
            "one for each width",
        )?;
        for (panel, start) in panels.iter().zip((0..n).step_by(width)) {
            let end = n.min(start + width);
            let fits = (panel.rows, panel.columns) == (end, end - start);
            rule(OP, "rows of a panel", panel.rows, fits, end.to_string())?;
        }
        let targets: Vec<F32Matrix> = panels
            .iter()
            .map(|panel| self.f32_zeros(panel.rows, panel.columns))
            .collect::<Result<_, _>>()?;
        let addresses: Vec<u64> = targets
            .iter()
            .map(|target| target.values.address())
            .collect();
        let (addresses, place) = (self.upload(&addresses)?, self.upload(place)?);
        for (panel, start) in panels.iter().zip((0..n).step_by(width)) {
            let geometry = self.by_column(OP, panel.columns, panel.rows)?;
            let (source, place, targets) = (panel.values.ptr(), place.ptr(), addresses.ptr());
            let (start, own) = (
                count(OP, "start", start)?,
                count(OP, "width", panel.columns)?,
            );
            let (panel_width, n) = (count(OP, "width", width)?, count(OP, "order", n)?);
            // SAFETY: arguments as in kernels/f32_ops.cu; extents were checked above, and `place`
            // is a permutation, so every target is within its panel.
            unsafe {
                self.launch(
                    Kernel::PermuteUpperF32,
                    geometry,
                    params![source, start, own, place, targets, panel_width, n],
                )?;
            }
        }
        self.synchronize()?; // the table of addresses may go now
        Ok(targets)
    }

    fn check_row_vector(
        &self,
        op: &'static str,
        arg: &'static str,
        vector: &F32Matrix,
        columns: usize,
    ) -> Result<(), KernelError> {
        let fits = (vector.rows, vector.columns) == (1, columns);
        rule(op, arg, vector.columns, fits, columns.to_string())
    }

    /// A thread a column, a row of blocks a row.
    fn by_column(
        &self,
        op: &'static str,
        columns: usize,
        rows: usize,
    ) -> Result<Geometry, KernelError> {
        rule(op, "rows", rows, rows <= 65_535, "at most 65535")?; // the grid's second extent
        let grid = (
            count(op, "columns", columns.div_ceil(THREADS))?,
            count(op, "rows", rows)?,
            1,
        );
        Ok(Geometry {
            grid,
            block: THREADS as u32,
        })
    }
}
