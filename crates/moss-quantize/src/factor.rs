//! The linear algebra of GPTQ: the triangular factor of a Hessian, and the corrections that it
//! gives.
//!
//! In f32, as the paper's own code has it: dampening bounds the condition number. Products run on
//! the device of the Hessian; diagonal blocks, few operations in many steps, are factored on the
//! host.

use candle_core::Tensor;
use moss_weights::KernelError;
use rayon::prelude::*;

use crate::{
    device::Device,
    hessian::{Hessian, Panels},
    matrix::{Matrix, Store},
};

/// Rows of a block that is factored element by element; larger ones are split in two.
const LEAF: usize = 64;

/// `R`, upper triangular, of `H = R R^T`.
///
/// Let `D` be what rounding did to the weights `[outputs, inputs]` so far. The outputs err by `|D
/// R|^2` in all, and column `j` of `D R` is up to inputs `0..=j`: once those before `j` are
/// rounded, the weight of `j` that makes up for them best is `w[j] + (D R)[j] / R[j][j]`. For a
/// block `J` of inputs that is `W[J] + (D R)[J] U`, where `U` is the inverse of the block
/// `R[J][J]`. The usual form of GPTQ has `U` of all inputs, the inverse of `R`, and corrects all
/// weights to come; this one corrects those whose turn it is, and never makes an inverse but of
/// blocks.
pub(crate) struct Factor {
    /// Inputs in the order in which they are rounded.
    pub(crate) order: Vec<usize>,
    /// Inputs that were always zero, whose weights have no effect.
    pub(crate) dead: Vec<bool>,
    /// `R`
    panels: Panels,
    /// The inverses of its diagonal blocks, each `[width, width]` row-major and upper triangular.
    inverses: Vec<Vec<f32>>,
}

impl Factor {
    /// Factors `H` with `dampening` times its mean diagonal added to the diagonal; inputs as they
    /// come, or those of the largest diagonal first. `None` where that is not positive definite.
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
            order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a])); // equals stay as they are
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

    /// Where its products are made.
    pub(crate) fn device(&self) -> &Device {
        self.panels
            .columns
            .first()
            .map_or(&Device::Cpu, Matrix::device)
    }

    /// `U` of the inputs `first..first + count`, which lie in one panel: `[count, count]`
    /// row-major. Places in the order.
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
    /// `[in_features, outputs]`, `D` transposed, whose rows from `first` on do not matter.
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

    /// `trace(W H W^T)` for `w`, `W` transposed, `[in_features, outputs]` in the factor's order:
    /// the sum of squares of the layer's outputs, but for a constant.
    pub(crate) fn energy(&self, w: &Matrix) -> Result<f64, KernelError> {
        let mut energy = 0.0;
        for panel in &self.panels.columns {
            let rows = panel.rows();
            let product = Matrix::product(&panel.all().transposed(), &w.part(0..rows))?;
            let values = product.to_host(0..product.rows())?;
            // Sums in a fixed order: the same report from any number of threads.
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

/// A triangular factor and its inverse.
type Factored<T> = (T, T);

/// `R` and its inverse for a block `[n, n]` with `added` on its diagonal, all row-major; `None`
/// where it is not positive definite. Of the block only the upper triangle is read.
///
/// With `J` turning the order around and `J H J = L L^T`, `R = J L J`.
fn factor_block(block: &[f32], added: &[f64]) -> Result<Option<Factored<Vec<f32>>>, KernelError> {
    let n = added.len();
    let turned = |row: usize, column: usize| {
        let (row, column) = (n - 1 - row, n - 1 - column);
        let value = block[row.min(column) * n + row.max(column)];
        if row == column {
            (f64::from(value) + added[row]) as f32
        } else {
            value
        }
    };
    let square: Vec<f32> = (0..n * n).map(|at| turned(at / n, at % n)).collect();
    let square = Tensor::from_vec(square, (n, n), &candle_core::Device::Cpu)?;
    let Some((lower, inverse)) = factor_lower(&square)? else {
        return Ok(None);
    };
    let back = |lower: &Tensor| -> Result<Vec<f32>, KernelError> {
        let mut values: Vec<f32> = lower.flatten_all()?.to_vec1()?;
        values.reverse(); // element [i][j] to [n - 1 - i][n - 1 - j]
        Ok(values)
    };
    Ok(Some((back(&lower)?, back(&inverse)?)))
}

/// `L`, lower triangular, of `square = L L^T`, and its inverse; `None` where `square` is not
/// positive definite.
///
/// A large block is split in two: `L = [A 0; B C]` has the inverse `[A' 0; -C' B A', C']`, where `B
/// = S A'^T` for the part `S` below the first half, and `C C^T` is what `B B^T` leaves of the
/// second half. So that nearly all of it is matrix products.
fn factor_lower(square: &Tensor) -> Result<Option<Factored<Tensor>>, KernelError> {
    let n = square.dim(0)?;
    if n <= LEAF {
        return factor_leaf(square);
    }
    let half = (n / 2).next_multiple_of(LEAF.min(n / 2)).min(n - 1);
    let part = |row: usize, rows: usize, column: usize, columns: usize| {
        square
            .narrow(0, row, rows)?
            .narrow(1, column, columns)?
            .contiguous()
    };
    let Some((a, a_inverse)) = factor_lower(&part(0, half, 0, half)?)? else {
        return Ok(None);
    };
    let b = part(half, n - half, 0, half)?.matmul(&a_inverse.t()?)?;
    let rest = (part(half, n - half, half, n - half)? - b.matmul(&b.t()?)?)?;
    let Some((c, c_inverse)) = factor_lower(&rest)? else {
        return Ok(None);
    };
    let below = c_inverse.matmul(&b)?.matmul(&a_inverse)?.neg()?;
    let whole = |first: &Tensor, below: &Tensor, last: &Tensor| -> Result<Tensor, KernelError> {
        let upper = first.pad_with_zeros(1, 0, n - half)?;
        Ok(Tensor::cat(&[upper, Tensor::cat(&[below, last], 1)?], 0)?)
    };
    Ok(Some((
        whole(&a, &b, &c)?,
        whole(&a_inverse, &below, &c_inverse)?,
    )))
}

/// As [`factor_lower`], element by element, in f64.
fn factor_leaf(square: &Tensor) -> Result<Option<Factored<Tensor>>, KernelError> {
    let n = square.dim(0)?;
    let mut l: Vec<f64> = square
        .flatten_all()?
        .to_vec1::<f32>()?
        .into_iter()
        .map(f64::from)
        .collect();
    let mut inverse = vec![0.0f64; n * n];
    for row in 0..n {
        for column in 0..=row {
            let known: f64 = (0..column)
                .map(|k| l[row * n + k] * l[column * n + k])
                .sum();
            let left = l[row * n + column] - known;
            l[row * n + column] = if row > column {
                left / l[column * n + column]
            } else {
                left.sqrt()
            };
        }
        // The square root of a negative number is no number, and zero divides nothing.
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
    let tensor = |values: Vec<f64>| {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Tensor::from_vec(values, (n, n), &candle_core::Device::Cpu)
    };
    Ok(Some((tensor(l)?, tensor(inverse)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::gptq::tests::noise;

    const DAMPENING: f64 = 0.01;
    const OUTPUTS: usize = 3;

    /// Sums of some hundred products in f32, over what dampening leaves of the condition number: a
    /// few parts in 10^5 were seen.
    const TOLERANCE: f64 = 2e-4;

    /// Inputs that depend on each other and are of different strengths, `[200, n]`; input 5 is
    /// always zero.
    fn inputs(n: usize) -> Vec<f32> {
        let mut x = noise(200 * n, 11);
        for row in x.chunks_exact_mut(n) {
            (1..n).for_each(|at| row[at] = (row[at] + 0.6 * row[at - 1]) * [1.0, 1.0, 1.6][at % 3]);
            row[5] = 0.0;
        }
        x
    }

    fn hessian(x: &[f32], n: usize, width: usize) -> Hessian {
        let mut hessian = Hessian::new(n, width, x.len() / n, &Device::Cpu).unwrap();
        for rows in x.chunks(77 * n) {
            hessian
                .add(&Matrix::new(&Device::Cpu, rows, n).unwrap())
                .unwrap();
        }
        hessian
    }

    /// The dampened Hessian by its definition, rows and columns in `order`.
    fn reference(x: &[f32], order: &[usize]) -> Vec<Vec<f64>> {
        let n = order.len();
        let sum = |i: usize, j: usize| -> f64 {
            x.chunks_exact(n)
                .map(|row| f64::from(row[i]) * f64::from(row[j]))
                .sum()
        };
        let scale = 2.0 * n as f64 / x.len() as f64;
        let added = DAMPENING * scale * (0..n).map(|i| sum(i, i)).sum::<f64>() / n as f64;
        let on_diagonal = |i: usize| added + f64::from(u8::from(i == 5));
        let value =
            |i: usize, j: usize| scale * sum(i, j) + if i == j { on_diagonal(i) } else { 0.0 };
        order
            .iter()
            .map(|i| order.iter().map(|j| value(*i, *j)).collect())
            .collect()
    }

    /// `R`, upper triangular, of `h = R R^T`: column by column from the last, the textbook's way.
    fn upper_factor(h: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let n = h.len();
        let mut r = vec![vec![0.0; n]; n];
        for column in (0..n).rev() {
            for row in (0..=column).rev() {
                let known: f64 = (column + 1..n).map(|k| r[row][k] * r[column][k]).sum();
                let left = h[row][column] - known;
                r[row][column] = if row == column {
                    left.sqrt()
                } else {
                    left / r[column][column]
                };
            }
        }
        r
    }

    /// `U` of an upper triangular `r`, by substitution.
    fn inverse_of(r: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let n = r.len();
        let mut u = vec![vec![0.0; n]; n];
        for column in (0..n).rev() {
            for row in (0..=column).rev() {
                let known: f64 = (row + 1..=column).map(|k| r[row][k] * u[k][column]).sum();
                u[row][column] = (f64::from(u8::from(row == column)) - known) / r[row][row];
            }
        }
        u
    }

    /// As far as the largest of them goes.
    fn assert_near(what: &str, found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected
            .iter()
            .fold(0.0f64, |largest, value| largest.max(value.abs()));
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            assert!(
                off <= TOLERANCE * largest,
                "{what}: {found} at {at}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_factor_by_panels_is_that_of_the_definition_whatever_their_width() {
        // One panel with room to spare, one that fits, whole panels, a shorter last one, one of a
        // single column, columns.
        for (n, width) in [
            (40, 64),
            (48, 48),
            (96, 32),
            (100, 32),
            (65, 32),
            (30, 1),
            (129, 129),
            (150, 200),
        ] {
            for act_order in [false, true] {
                let x = inputs(n);
                let factor = Factor::new(hessian(&x, n, width), act_order, DAMPENING)
                    .unwrap()
                    .unwrap();
                let (order, what) = (
                    &factor.order,
                    format!("{n} by {width}, act-order {act_order}"),
                );
                assert_eq!(order.is_sorted(), !act_order, "{what}");
                assert!(
                    (0..n).all(|input| factor.dead[input] == (input == 5)),
                    "{what}"
                );
                let h = reference(&x, order);
                let strength = |at: usize| h[at][at] - f64::from(u8::from(order[at] == 5));
                let falls = (1..n).all(|at| strength(at - 1) >= strength(at) - 1e-4); // sums of f32
                assert!(!act_order || falls, "{what}");
                let r = upper_factor(&h);
                for (panel, start) in factor.panels.columns.iter().zip((0..n).step_by(width)) {
                    let end = n.min(start + width);
                    let expected: Vec<f64> = r[..end]
                        .iter()
                        .flat_map(|row| &row[start..end])
                        .copied()
                        .collect();
                    assert_near(
                        &format!("R, {what}"),
                        &panel.to_host(0..end).unwrap(),
                        &expected,
                    );
                }
            }
        }
    }

    #[test]
    fn corrections_and_energy_are_those_of_the_definition_in_any_block_of_a_panel() {
        let (n, width) = (100, 32);
        let x = inputs(n);
        let factor = Factor::new(hessian(&x, n, width), false, DAMPENING)
            .unwrap()
            .unwrap();
        let h = reference(&x, &factor.order);
        let r = upper_factor(&h);
        let d = noise(n * OUTPUTS, 5);
        let errors = Matrix::new(&Device::Cpu, &d, OUTPUTS).unwrap();
        let d = |input: usize, output: usize| f64::from(d[input * OUTPUTS + output]);
        for (first, count) in [(0, 16), (16, 16), (32, 32), (72, 8), (96, 4)] {
            let block: Vec<Vec<f64>> = r[first..first + count]
                .iter()
                .map(|row| row[first..first + count].to_vec())
                .collect();
            let u = inverse_of(&block);
            let inverse = factor.inverse(first, count);
            assert_near(&format!("U of {first}"), &inverse, &u.concat());
            let product = |output: usize, column: usize| -> f64 {
                (0..first)
                    .map(|input| d(input, output) * r[input][column])
                    .sum()
            };
            let expected = (0..count).flat_map(|at| (0..OUTPUTS).map(move |output| (at, output)));
            let expected: Vec<f64> = expected
                .map(|(at, output)| {
                    (0..count)
                        .map(|k| product(output, first + k) * u[k][at])
                        .sum()
                })
                .collect();
            if first > 0 {
                let mut own = Matrix::zeros(&Device::Cpu, count, OUTPUTS).unwrap();
                factor.correct(&mut own, first, &inverse, &errors).unwrap();
                let found = own.to_host(0..count).unwrap();
                assert_near(&format!("correction of {first}"), &found, &expected);
            }
        }
        let of = |output: usize| -> f64 {
            (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .map(|(i, j)| d(i, output) * h[i][j] * d(j, output))
                .sum()
        };
        let (found, expected) = (
            factor.energy(&errors).unwrap(),
            (0..OUTPUTS).map(of).sum::<f64>(),
        );
        assert!(
            (found - expected).abs() <= TOLERANCE * expected,
            "{found}, expected {expected}"
        );
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        let x = inputs(40);
        for width in [16, 64] {
            assert!(
                Factor::new(hessian(&x, 40, width), false, -1.0)
                    .unwrap()
                    .is_none()
            );
        }
        let x = inputs(130);
        assert!(
            Factor::new(hessian(&x, 130, 130), false, -1.0)
                .unwrap()
                .is_none()
        );
    }
}
