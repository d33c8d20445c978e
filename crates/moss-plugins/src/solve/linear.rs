//! Systems of linear equations.

use num_rational::BigRational;
use num_traits::Zero;

use super::{
    error::EquationError,
    polynomial::{Fraction, Monomial},
};

/// The most bits of a coefficient: 77 digits.
const MAX_BITS: u64 = 256;

/// Solves equations that are linear in `variables` variables, by Gaussian elimination.
///
/// # Errors
/// [`EquationError::Underdetermined`], [`EquationError::Contradiction`], [`EquationError::TooLarge`].
pub(super) fn solve(
    equations: &[Fraction],
    variables: usize,
) -> Result<Vec<BigRational>, EquationError> {
    let mut rows: Vec<Vec<BigRational>> = equations
        .iter()
        .map(|equation| row(equation, variables))
        .collect();
    // The time of elimination grows with the size of the numbers.
    let bits = |value: &BigRational| value.numer().bits().max(value.denom().bits());
    if rows.iter().flatten().any(|value| bits(value) > MAX_BITS) {
        return Err(EquationError::TooLarge);
    }
    for column in 0..variables {
        let pivot = (column..rows.len()).find(|row| !rows[*row][column].is_zero());
        let Some(pivot) = pivot else {
            // An equation without unknowns may still be wrong.
            return Err(if has_contradiction(&rows, variables) {
                EquationError::Contradiction
            } else {
                EquationError::Underdetermined
            });
        };
        rows.swap(column, pivot);
        let scale = rows[column][column].recip();
        for value in &mut rows[column] {
            *value = &*value * &scale;
        }
        let pivot = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column && !row[column].is_zero() {
                let factor = row[column].clone();
                for (value, other) in row.iter_mut().zip(&pivot) {
                    *value = &*value - &factor * other;
                }
            }
        }
    }
    if has_contradiction(&rows, variables) {
        return Err(EquationError::Contradiction);
    }
    let solution: Vec<_> = rows[..variables]
        .iter()
        .map(|row| -&row[variables])
        .collect();
    let is_defined = |equation: &Fraction| !equation.bottom.at(&solution).is_zero();
    if !equations.iter().all(is_defined) {
        return Err(EquationError::Contradiction);
    }
    Ok(solution)
}

/// Returns the coefficients of the variables, and the constant.
fn row(equation: &Fraction, variables: usize) -> Vec<BigRational> {
    let mut row: Vec<_> = (0..variables)
        .map(|variable| {
            let mut monomial = Monomial::default();
            monomial[variable] = 1;
            equation.top.coefficient(&monomial)
        })
        .collect();
    row.push(equation.top.coefficient(&Monomial::default()));
    row
}

/// Returns true if an equation says that a constant other than zero is zero.
fn has_contradiction(rows: &[Vec<BigRational>], variables: usize) -> bool {
    let is_wrong = |row: &Vec<BigRational>| {
        row[..variables].iter().all(Zero::is_zero) && !row[variables].is_zero()
    };
    rows.iter().any(is_wrong)
}
