//! Dense matrix products.

use bytes::Bytes;
use half::{bf16, f16};

use super::{check_linear, noise};
use crate::{DenseDtype, DenseWeight, LinearWeight};

fn check_dense(dtype: DenseDtype, rows: usize, outputs: usize, inputs: usize) {
    let values = noise(outputs * inputs, 7);
    let (data, w): (Vec<u8>, Vec<f64>) = match dtype {
        DenseDtype::F32 => (
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            values.iter().map(|v| f64::from(*v)).collect(),
        ),
        DenseDtype::F16 => {
            let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
            (
                halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
                halves.iter().map(|v| v.to_f64()).collect(),
            )
        }
        DenseDtype::BF16 => {
            let halves: Vec<bf16> = values.iter().map(|v| bf16::from_f32(*v)).collect();
            (
                halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
                halves.iter().map(|v| v.to_f64()).collect(),
            )
        }
    };
    // Unaligned by one byte, as in a file without padding.
    let data = Bytes::from([&[0u8][..], &data].concat()).slice(1..);
    check_linear(
        LinearWeight::Dense(DenseWeight {
            dtype,
            out_features: outputs,
            in_features: inputs,
            data,
        }),
        &w,
        rows,
    );
}

#[test]
fn dense_products_of_partial_vectors_are_correct() {
    for dtype in [DenseDtype::F32, DenseDtype::F16, DenseDtype::BF16] {
        for (rows, outputs, inputs) in [
            (1, 1, 1),
            (1, 67, 130),
            (2, 5, 17),
            (3, 65, 16),
            (4, 64, 100),
            (5, 49, 33),
            (9, 50, 1000),
            (17, 97, 129),
        ] {
            check_dense(dtype, rows, outputs, inputs);
        }
    }
}

#[test]
fn dense_products_over_several_blocks_and_row_chunks_are_correct() {
    check_dense(DenseDtype::F16, 1, 100, 2100);
    check_dense(DenseDtype::BF16, 3, 7, 2048);
    check_dense(DenseDtype::F32, 11, 203, 2061);
    check_dense(DenseDtype::F16, 517, 9, 1100);
}

#[test]
fn dense_products_with_inputs_larger_than_the_cache_are_correct() {
    for rows in 1..=5 {
        check_dense(DenseDtype::F16, rows, 1, 9 * 1024 + 33);
        check_dense(DenseDtype::BF16, rows, 19, 9 * 1024);
        check_dense(DenseDtype::F32, rows, 10, 8 * 1024 + 16);
    }
    check_dense(DenseDtype::F16, 1, 67, 4 * 1024 + 33); // fits in the cache, several blocks
}
