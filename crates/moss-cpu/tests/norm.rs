//! LayerNorm compared with f64 arithmetic, and detection of non-finite values.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use moss_cpu::ops::{first_non_finite, layer_norm};

const HIDDEN: usize = 300;

#[test]
fn rows_with_one_very_large_value_are_normalized_accurately() {
    let x: Vec<f32> = (0..2 * HIDDEN)
        .map(|i| {
            if i % HIDDEN == 7 {
                4000.0
            } else {
                (i as f32 * 0.7).sin()
            }
        })
        .collect();
    let weight: Vec<f32> = (0..HIDDEN).map(|i| 1.0 + i as f32 / 100.0).collect();
    let bias: Vec<f32> = (0..HIDDEN).map(|i| i as f32 / 50.0 - 3.0).collect();
    let input = Tensor::from_slice(&x, (2, HIDDEN), &Device::Cpu).unwrap();
    let found = layer_norm(&input, &weight, &bias, 1e-5, DType::F32)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    for (x, found) in x.chunks(HIDDEN).zip(found) {
        let n = HIDDEN as f64;
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let variance = x
            .iter()
            .map(|x| (f64::from(*x) - mean).powi(2))
            .sum::<f64>()
            / n;
        for (i, found) in found.iter().enumerate() {
            let normal = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt();
            let exact = normal * f64::from(weight[i]) + f64::from(bias[i]);
            assert!(
                (f64::from(*found) - exact).abs() <= 1e-6 * (1.0 + exact.abs()),
                "value {i}: {found} instead of {exact}"
            );
        }
    }
}

#[test]
fn a_constant_row_becomes_the_bias() {
    let x = Tensor::full(3f32, (1, 4), &Device::Cpu).unwrap();
    let y = layer_norm(&x, &[2.0; 4], &[0.25; 4], 1e-5, DType::F16).unwrap();
    assert_eq!(y.dtype(), DType::F16);
    assert_eq!(
        y.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap(),
        [[0.25; 4]]
    );
    assert!(
        layer_norm(&x, &[2.0; 5], &[0.25; 5], 1e-5, DType::F32)
            .unwrap_err()
            .to_string()
            .contains("[rows, 5]")
    );
}

#[test]
fn the_first_non_finite_value_is_found_at_any_index() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 255, 256, 511, 1233, 1499] {
            let mut x = vec![f32::MAX; 1500];
            x[at] = bad;
            let x = Tensor::from_vec(x, (5, 300), &Device::Cpu).unwrap();
            let found = first_non_finite(&x).unwrap().unwrap();
            assert_eq!(
                (found.row, found.value.to_bits()),
                (at / 300, bad.to_bits())
            );
        }
    }
    let largest = Tensor::full(f32::MIN, (5, 300), &Device::Cpu).unwrap();
    assert_eq!(first_non_finite(&largest).unwrap(), None);
}
