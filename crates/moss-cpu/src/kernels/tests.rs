//! Every kernel on every instruction set of this machine: compared with f64 arithmetic, and with
//! itself bit for bit for other numbers of rows and threads.
#![allow(clippy::unwrap_used)]

mod attention;
mod dense;
mod elementwise;
mod gptq;
mod int8;

use candle_core::{Device, Tensor};

use super::Isa;
use crate::{Linear, LinearWeight};

/// Error of a few thousand f32 additions of terms near 1.
const TOL: f64 = 2e-5;

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Returns `y = x W^T + bias` in f64, and for each output the sum of magnitudes, to which the rounding
/// error is proportional.
fn reference(x: &[f32], w: &[f64], bias: &[f32], inputs: usize) -> Vec<(f64, f64)> {
    let mut y = Vec::new();
    for x in x.chunks(inputs) {
        for (w, bias) in w.chunks(inputs).zip(bias) {
            let terms = x.iter().zip(w).map(|(x, w)| f64::from(*x) * w);
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                (sum + term, size + term.abs())
            });
            y.push((sum + f64::from(*bias), size + 1.0));
        }
    }
    y
}

fn run(linear: &Linear, x: &[f32], isa: Isa) -> Vec<f32> {
    let x = Tensor::from_slice(
        x,
        (x.len() / linear.in_features(), linear.in_features()),
        &Device::Cpu,
    )
    .unwrap();
    linear
        .forward_on(&x, isa)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Checks that results are correct on every instruction set, and that each row has the same bits
/// alone.
fn check_linear(weight: LinearWeight, w: &[f64], rows: usize) {
    let outputs = match &weight {
        LinearWeight::Dense(dense) => dense.out_features,
        LinearWeight::Gptq(gptq) => gptq.out_features,
    };
    let bias = noise(outputs, 3);
    let linear = Linear::new(weight, Some(bias.clone()), &Device::Cpu).unwrap();
    let inputs = linear.in_features();
    let x = noise(rows * inputs, 5);
    let expected = reference(&x, w, &bias, inputs);
    for isa in Isa::available() {
        let y = run(&linear, &x, isa);
        for (at, (y, (expected, size))) in y.iter().zip(&expected).enumerate() {
            let off = (f64::from(*y) - expected).abs();
            assert!(
                off <= TOL * size,
                "{isa}, {rows} rows, output {at}: {y} instead of {expected}"
            );
        }
        for (row, y) in y.chunks(outputs).enumerate() {
            assert!(
                run(&linear, &x[row * inputs..][..inputs], isa) == y,
                "{isa}: row {row} of {rows} differs alone"
            );
        }
    }
}
