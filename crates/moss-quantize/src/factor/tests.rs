//! Factors and corrections, compared with their definitions in f64.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::gptq::tests::noise;

const DAMPENING: f64 = 0.01;
const OUTPUTS: usize = 3;

/// Sums of some hundred f32 products, with a condition number that dampening bounds: a few parts in
/// 10^5 were measured.
const TOLERANCE: f64 = 2e-4;

/// Returns correlated inputs of different magnitudes, `[200, n]`; input 5 is always zero.
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

/// Computes the dampened Hessian by its definition, with rows and columns in `order`.
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
    let value = |i: usize, j: usize| scale * sum(i, j) + if i == j { on_diagonal(i) } else { 0.0 };
    order
        .iter()
        .map(|i| order.iter().map(|j| value(*i, *j)).collect())
        .collect()
}

/// Computes `R`, upper triangular, of `h = R R^T`, column by column from the last.
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

/// Computes `U` of an upper triangular `r` by substitution.
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

/// Compares values relative to the largest of them.
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
fn factors_of_any_panel_width_match_the_definition() {
    // A panel wider than the matrix, one that fits, several, a shorter last one, one of a single
    // column, and panels of one column.
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
fn corrections_and_energy_of_any_block_match_the_definition() {
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
fn a_matrix_that_is_not_positive_definite_has_no_factor() {
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
