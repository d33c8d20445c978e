//! Rotary position embedding compared with its definition, for a part of a head and all of it.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use moss_cpu::ops::{RopePrecision, RopeTable, rotary};

const ROWS: usize = 3;
const HEADS: usize = 2;

/// Angles are f32 products: near 2000 rad, half a unit in the last place is 6e-5 rad.
const TOL: f64 = 1e-4;

fn table(rotary_dim: usize) -> RopeTable {
    RopeTable::new(rotary_dim, 2048, RopePrecision::F32, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_dtype(DType::F32)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

#[test]
fn pairs_are_rotated_and_the_rest_is_unchanged() {
    for (head_dim, rotary_dim) in [(16, 16), (32, 8), (256, 64)] {
        let x = Tensor::rand(-1f32, 1.0, (ROWS, HEADS, head_dim), &Device::Cpu).unwrap();
        let positions = [0u32, 2047, 5];
        let found = values(&rotary(&x, &table(rotary_dim), &positions).unwrap());
        let x = values(&x);
        for (at, found) in found.iter().enumerate() {
            let (lane, position) = (at % head_dim, positions[at / (HEADS * head_dim)]);
            if lane >= rotary_dim {
                assert_eq!(*found, x[at], "lane {lane} does not rotate");
                continue;
            }
            let pair = (lane / 2) as f64;
            let angle = f64::from(position) * 10_000f64.powf(-2.0 * pair / rotary_dim as f64);
            let (even, odd) = (f64::from(x[at / 2 * 2]), f64::from(x[at / 2 * 2 + 1]));
            let exact = if lane % 2 == 0 {
                even * angle.cos() - odd * angle.sin()
            } else {
                odd * angle.cos() + even * angle.sin()
            };
            // The rounding error of the f32 frequency is multiplied by the position.
            let tol = TOL * (1.0 + f64::from(position) / 512.0);
            assert!(
                (f64::from(*found) - exact).abs() <= tol,
                "lane {lane} at {position}: {found} instead of {exact}"
            );
        }
    }
}

#[test]
fn a_row_depends_on_its_position_only() {
    let x = Tensor::rand(-1f32, 1.0, (ROWS, HEADS, 32), &Device::Cpu).unwrap();
    let together = values(&rotary(&x, &table(16), &[7, 1900, 3]).unwrap());
    for (row, position) in [7u32, 1900, 3].into_iter().enumerate() {
        let alone =
            values(&rotary(&x.narrow(0, row, 1).unwrap(), &table(16), &[position]).unwrap());
        assert_eq!(alone, together[row * HEADS * 32..][..HEADS * 32]);
    }
}

#[test]
fn halves_keep_their_type_and_are_rounded_once() {
    let x = Tensor::rand(-1f32, 1.0, (ROWS, HEADS, 16), &Device::Cpu)
        .unwrap()
        .to_dtype(DType::BF16)
        .unwrap();
    let rotated = rotary(&x, &table(16), &[1, 2, 3]).unwrap();
    assert_eq!(rotated.dtype(), DType::BF16);
    let wide = rotary(&x.to_dtype(DType::F32).unwrap(), &table(16), &[1, 2, 3]).unwrap();
    assert_eq!(
        values(&rotated),
        values(&wide.to_dtype(DType::BF16).unwrap())
    );
}

#[test]
fn arguments_that_do_not_match_are_rejected() {
    let x = Tensor::zeros((1, HEADS, 16), DType::F32, &Device::Cpu).unwrap();
    let error = |table: &RopeTable, positions: &[u32]| {
        rotary(&x, table, positions).unwrap_err().to_string()
    };
    assert_eq!(
        error(&table(16), &[2048]),
        "rotary: `position` is 2048, expected below 2048"
    );
    assert!(error(&table(16), &[1, 2]).contains("[1, 2, 16]"));
    assert!(error(&table(32), &[1]).contains(">= 32"));
    let odd = RopeTable::new(15, 8, RopePrecision::F32, &Device::Cpu).unwrap_err();
    assert_eq!(odd.to_string(), "rotary: `rotary_dim` is 15, expected even");
}

#[test]
fn zero_extents_are_rejected_and_zero_rows_are_accepted() {
    let zeros =
        |shape: (usize, usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for shape in [(1, 0, 16), (1, HEADS, 0), (1, 0, 0)] {
        let error = rotary(&zeros(shape), &table(0), &[1])
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected [1, >= 1, >= 1]"), "{error}");
    }
    assert_eq!(
        rotary(&zeros((0, HEADS, 16)), &table(16), &[])
            .unwrap()
            .dims(),
        [0, HEADS, 16]
    );
    let no_positions = RopeTable::new(16, 0, RopePrecision::F32, &Device::Cpu).unwrap();
    let error = rotary(&zeros((1, HEADS, 16)), &no_positions, &[0])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "rotary: `position` is 0, expected below 0");
}
