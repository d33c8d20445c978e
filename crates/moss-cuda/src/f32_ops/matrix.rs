//! The matrices: allocation, copies, and products.

use std::ops::Range;

use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    address::{In, Out},
    buffer::{Buffer, View},
    contract::{count, rule},
    copy,
    cublas::{Gemm, Matrix, Operand, Values},
    device::Gpu,
    launch::{Call, Geometry},
};

/// Threads of a block, as in kernels/f32_ops.cu.
pub(super) const THREADS: usize = 256;

/// A matrix `[rows, columns]` in f32, row-major.
#[derive(Debug)]
pub struct F32Matrix {
    values: Buffer<f32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A part of a matrix, as an operand of a product.
#[derive(Debug, Clone)]
pub struct F32Part<'a> {
    /// The matrix.
    pub matrix: &'a F32Matrix,
    /// Rows of the part.
    pub rows: Range<usize>,
    /// Columns of the part.
    pub columns: Range<usize>,
    /// Is true if the operand is the transpose of the part.
    pub transposed: bool,
}

impl F32Matrix {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the values of `rows`.
    pub(super) fn view(
        &self,
        op: &'static str,
        rows: &Range<usize>,
    ) -> Result<View<'_, f32>, KernelError> {
        self.check_rows(op, rows)?;
        let values = self.values.all();
        values.part(op, rows.start * self.columns, rows.len() * self.columns)
    }

    /// Returns all values as an argument of a kernel.
    pub(super) fn input<'a>(
        &'a self,
        call: &Call<'a>,
        arg: &'static str,
    ) -> Result<In<f32>, KernelError> {
        call.input(arg, &self.values, self.rows * self.columns)
    }

    /// Returns all values as an argument that a kernel writes.
    pub(super) fn output<'a>(
        &'a self,
        call: &Call<'a>,
        arg: &'static str,
    ) -> Result<Out<f32>, KernelError> {
        call.output(arg, &self.values, self.rows * self.columns)
    }

    /// Returns the address of the first value, for a table of addresses in device memory.
    pub(super) fn address(&self) -> u64 {
        self.values.all().address()
    }

    pub(super) fn check_rows(
        &self,
        op: &'static str,
        rows: &Range<usize>,
    ) -> Result<(), KernelError> {
        rule(
            op,
            "rows",
            rows.end,
            rows.start <= rows.end && rows.end <= self.rows,
            Rule::AtMost(self.rows),
        )
    }

    /// Checks that the matrix is `[1, columns]`.
    pub(super) fn check_row_vector(
        &self,
        op: &'static str,
        arg: &'static str,
        columns: usize,
    ) -> Result<(), KernelError> {
        let fits = (self.rows, self.columns) == (1, columns);
        rule(op, arg, self.columns, fits, Rule::Exactly(columns))
    }
}

impl<'a> F32Part<'a> {
    /// Returns rows and columns of the operand.
    fn extents(&self) -> (usize, usize) {
        if self.transposed {
            (self.columns.len(), self.rows.len())
        } else {
            (self.rows.len(), self.columns.len())
        }
    }

    fn operand(&self, op: &'static str) -> Result<Operand<'a>, KernelError> {
        let matrix = self.matrix;
        matrix.check_rows(op, &self.rows)?;
        let (columns, all) = (&self.columns, matrix.columns);
        rule(
            op,
            "columns",
            columns.end,
            columns.start <= columns.end && columns.end <= all,
            Rule::AtMost(all),
        )?;
        Ok(Operand {
            matrix: Matrix {
                values: Values::F32(matrix.values.all()),
                start: self.rows.start * all + columns.start,
                stride: all,
            },
            transposed: self.transposed,
        })
    }
}

impl Gpu {
    /// Allocates a matrix of zeros.
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

    /// Copies `values`, rows of `columns`, to a new matrix.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if the last row is incomplete; [`KernelError::OutOfMemory`].
    pub fn f32_upload(&self, values: &[f32], columns: usize) -> Result<F32Matrix, KernelError> {
        let whole = columns > 0 && values.len().is_multiple_of(columns);
        rule(
            "upload",
            "values",
            values.len(),
            whole,
            Rule::MultipleOf(columns),
        )?;
        Ok(F32Matrix {
            values: self.upload(values)?,
            rows: values.len() / columns,
            columns,
        })
    }

    /// Copies `rows` to the host and waits for the copy.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for rows that the matrix does not have;
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn f32_download(
        &self,
        from: &F32Matrix,
        rows: Range<usize>,
    ) -> Result<Vec<f32>, KernelError> {
        const OP: &str = "copy from the GPU";
        let source = from.view(OP, &rows)?;
        self.id.check(OP, "matrix", source.device())?;
        let mut values = vec![0.0f32; rows.len() * from.columns];
        copy::from_device(&self.stream, source, &mut values)?;
        Ok(values)
    }

    /// Copies `values` to the rows from `first` on and waits for the copy.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if they do not fit; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn f32_write(
        &self,
        to: &mut F32Matrix,
        first: usize,
        values: &[f32],
    ) -> Result<(), KernelError> {
        const OP: &str = "copy to the GPU";
        let rows = values.len() / to.columns.max(1);
        rule(
            OP,
            "values",
            values.len(),
            values.len() == rows * to.columns,
            Rule::MultipleOf(to.columns),
        )?;
        let target = to.view(OP, &(first..first + rows))?;
        self.id.check(OP, "matrix", target.device())?;
        copy::to_device(&self.stream, values, target)
    }

    /// Copies rows of `from` to the rows of `to` from `first` on.
    ///
    /// # Errors
    /// As for [`Gpu::f32_write`].
    pub fn f32_copy(
        &self,
        from: &F32Matrix,
        rows: Range<usize>,
        to: &mut F32Matrix,
        first: usize,
    ) -> Result<(), KernelError> {
        const OP: &str = "copy within the GPU";
        let source = from.view(OP, &rows)?;
        let target = to.view(OP, &(first..first + rows.len()))?;
        rule(
            OP,
            "columns",
            to.columns,
            to.columns == from.columns,
            Rule::Exactly(from.columns),
        )?;
        for (arg, view) in [("source", source), ("target", target)] {
            self.id.check(OP, arg, view.device())?;
        }
        copy::within_device(&self.stream, source, target, DriverCall::CopyWithin)
    }

    /// Computes `y[rows] = alpha op(a) op(b) + beta y[rows]`, in f32.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::LibraryMissing`]; [`KernelError::Driver`].
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
        rule(
            OP,
            "rows of a",
            m,
            m == rows.len(),
            Rule::Exactly(rows.len()),
        )?;
        rule(OP, "rows of b", inner, inner == k, Rule::Exactly(k))?;
        rule(
            OP,
            "columns of b",
            n,
            n == y.columns,
            Rule::Exactly(y.columns),
        )?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let gemm = Gemm {
            m,
            n,
            k,
            alpha,
            a: a.operand(OP)?,
            b: b.operand(OP)?,
            beta,
            y: Matrix {
                values: Values::F32(y.values.all()),
                start: rows.start * y.columns,
                stride: y.columns,
            },
        };
        self.cublas.gemm(OP, &gemm)
    }
}

/// Returns the geometry with one thread per element, and one row of thread blocks per row.
pub(super) fn one_thread_per_element(
    op: &'static str,
    columns: usize,
    rows: usize,
) -> Result<Geometry, KernelError> {
    rule(op, "rows", rows, rows <= 65_535, Rule::AtMost(65_535))?; // limit of the grid's y extent
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
