//! Factors of diagonal blocks, on the host: few operations in many dependent steps.

use moss_weights::KernelError;

use crate::matrix::{HostMatrix, Store};

/// Rows of a block that is factored element by element. Larger blocks are split in two.
const LEAF: usize = 64;

/// A triangular factor and its inverse.
pub(super) type Factored<T> = (T, T);

/// Computes `R` and its inverse for a block `[n, n]` with `added` on its diagonal, all row-major.
/// Only the upper triangle of the block is read. Returns `None` if the block is not positive
/// definite.
///
/// If `J` reverses the order of rows and `J H J = L L^T`, then `R = J L J`.
pub(super) fn factor_block(
    block: &[f32],
    added: &[f64],
) -> Result<Option<Factored<Vec<f32>>>, KernelError> {
    let n = added.len();
    let reversed = |row: usize, column: usize| {
        let (row, column) = (n - 1 - row, n - 1 - column);
        let value = block[row.min(column) * n + row.max(column)];
        if row == column {
            (f64::from(value) + added[row]) as f32
        } else {
            value
        }
    };
    let square: Vec<f32> = (0..n * n).map(|at| reversed(at / n, at % n)).collect();
    let Some((lower, inverse)) = factor_lower(&HostMatrix::new(square, n, n)?)? else {
        return Ok(None);
    };
    let upper = |lower: &HostMatrix| -> Result<Vec<f32>, KernelError> {
        let mut values = lower.to_vec(0..n)?;
        values.reverse(); // element [i][j] becomes [n - 1 - i][n - 1 - j]
        Ok(values)
    };
    Ok(Some((upper(&lower)?, upper(&inverse)?)))
}

/// Computes `L`, lower triangular, of `square = L L^T`, and its inverse. Returns `None` if `square`
/// is not positive definite.
///
/// A large block is split in two, so that nearly all operations are matrix products:
/// `L = [A 0; B C]` has the inverse `[A' 0; -C' B A', C']`, where `B = S A'^T` for the part `S`
/// below the first half, and `C C^T` is the second half minus `B B^T`.
fn factor_lower(square: &HostMatrix) -> Result<Option<Factored<HostMatrix>>, KernelError> {
    let n = square.rows();
    if n <= LEAF {
        return factor_leaf(square);
    }
    let half = (n / 2).next_multiple_of(LEAF.min(n / 2)).min(n - 1);
    let Some((a, a_inverse)) = factor_lower(&square.block(0..half, 0..half)?)? else {
        return Ok(None);
    };
    let b = square.block(half..n, 0..half)?.all();
    let b = HostMatrix::product(&b, &a_inverse.transposed()?)?;
    let mut rest = square.block(half..n, half..n)?;
    rest.gemm(0..n - half, -1.0, &b.all(), &b.transposed()?, Store::Add)?;
    let Some((c, c_inverse)) = factor_lower(&rest)? else {
        return Ok(None);
    };
    let below = HostMatrix::product(&c_inverse.all(), &b.all())?;
    let mut inverse_below = HostMatrix::zeros(n - half, half)?;
    inverse_below.gemm(
        0..n - half,
        -1.0,
        &below.all(),
        &a_inverse.all(),
        Store::Overwrite,
    )?;
    Ok(Some((
        lower_of(&a, &b, &c)?,
        lower_of(&a_inverse, &inverse_below, &c_inverse)?,
    )))
}

/// Assembles `[a 0; b c]`.
fn lower_of(a: &HostMatrix, b: &HostMatrix, c: &HostMatrix) -> Result<HostMatrix, KernelError> {
    let (half, n) = (a.rows(), a.rows() + c.rows());
    let mut lower = vec![0.0; n * n];
    let (top, bottom) = lower.split_at_mut(half * n);
    copy_block(top, n, 0, a)?;
    copy_block(bottom, n, 0, b)?;
    copy_block(bottom, n, half, c)?;
    HostMatrix::new(lower, n, n)
}

/// Copies `from` into rows of `width` values, at column `first`.
fn copy_block(
    to: &mut [f32],
    width: usize,
    first: usize,
    from: &HostMatrix,
) -> Result<(), KernelError> {
    let values = from.to_vec(0..from.rows())?;
    let rows = to.chunks_exact_mut(width);
    for (to, from) in rows.zip(values.chunks_exact(from.columns())) {
        to[first..first + from.len()].copy_from_slice(from);
    }
    Ok(())
}

/// As [`factor_lower`], element by element, in f64.
fn factor_leaf(square: &HostMatrix) -> Result<Option<Factored<HostMatrix>>, KernelError> {
    let n = square.rows();
    let mut l: Vec<f64> = square.to_vec(0..n)?.into_iter().map(f64::from).collect();
    let mut inverse = vec![0.0f64; n * n];
    for row in 0..n {
        for column in 0..=row {
            let known: f64 = (0..column)
                .map(|k| l[row * n + k] * l[column * n + k])
                .sum();
            let rest = l[row * n + column] - known;
            l[row * n + column] = if row > column {
                rest / l[column * n + column]
            } else {
                rest.sqrt()
            };
        }
        // The diagonal is NaN or zero if the block is not positive definite.
        if !(l[row * n + row] > 0.0 && l[row * n + row].is_finite()) {
            return Ok(None);
        }
        l[row * n + row + 1..(row + 1) * n].fill(0.0);
        for column in 0..=row {
            let known: f64 = (column..row)
                .map(|k| l[row * n + k] * inverse[k * n + column])
                .sum();
            inverse[row * n + column] =
                (f64::from(u8::from(row == column)) - known) / l[row * n + row];
        }
    }
    let matrix = |values: Vec<f64>| {
        HostMatrix::new(values.into_iter().map(|value| value as f32).collect(), n, n)
    };
    Ok(Some((matrix(l)?, matrix(inverse)?)))
}
