//! Attention.

use half::{bf16, f16};

use super::noise;
use crate::kernels::{
    Isa,
    attention::{Cached, Queries, ROWS},
    quantize_head, split_columns,
};

/// `scale` stores the scale of a position, if the cache has scales.
fn check_attention<T: Cached>(
    convert: impl Fn(f32) -> T,
    scale: impl Fn(f32) -> Vec<T>,
    head_dim: usize,
    len: usize,
) {
    const HEADS: usize = 3;
    const BLOCK: usize = 4;
    let num_blocks = (len + ROWS).div_ceil(BLOCK) + 2;
    let block_len = HEADS * BLOCK * (head_dim + T::SCALE);
    let cache = |seed| -> Vec<T> {
        let numbers = noise(num_blocks * HEADS * BLOCK * (head_dim + 1), seed);
        let blocks = numbers.chunks(HEADS * BLOCK * (head_dim + 1));
        blocks
            .flat_map(|block| {
                let (values, scales) = block.split_at(HEADS * BLOCK * head_dim);
                let values = values.iter().map(|value| convert(*value));
                values.chain(scales.iter().flat_map(|value| scale(*value)))
            })
            .collect()
    };
    let (keys, values, q) = (cache(1), cache(2), noise(ROWS * HEADS * head_dim, 3));
    // Blocks out of order.
    let blocks: Vec<u32> = (0..(len + ROWS).div_ceil(BLOCK) as u32).rev().collect();
    for head in 0..HEADS {
        let row = |storage: &[T], position: usize| -> Vec<f64> {
            let block = &storage[blocks[position / BLOCK] as usize * block_len..][..block_len];
            let (values, scales) = block.split_at(HEADS * BLOCK * head_dim);
            let line = head * BLOCK + position % BLOCK;
            let scale = T::scale(&scales[line * T::SCALE..][..T::SCALE]);
            values[line * head_dim..][..head_dim]
                .iter()
                .map(|value| f64::from(value.widen()) * f64::from(scale))
                .collect()
        };
        let scores: Vec<f64> = (0..len)
            .map(|at| {
                row(&keys, at)
                    .iter()
                    .zip(&q[head * head_dim..])
                    .map(|(k, q)| k * f64::from(*q))
                    .sum::<f64>()
                    / (head_dim as f64).sqrt()
            })
            .collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
        let mut expected = vec![0.0; head_dim];
        for (at, score) in scores.iter().enumerate() {
            let mut probability = [((score - max).exp() / total) as f32];
            T::round(&mut probability);
            let probability = f64::from(probability[0]);
            for (sum, value) in expected.iter_mut().zip(row(&values, at)) {
                *sum += probability * value;
            }
        }
        for isa in Isa::available() {
            let attend = |first: usize, rows: usize| {
                let mut out = vec![f32::NAN; rows * HEADS * head_dim];
                let mut heads = split_columns(&mut out, HEADS * head_dim, head_dim);
                let mut scores = vec![0.0; rows * (len + ROWS)];
                isa.run(Queries {
                    rows,
                    q: &q[(first * HEADS + head) * head_dim..],
                    keys: &keys,
                    values: &values,
                    blocks: &blocks,
                    len: len + first,
                    head,
                    num_heads: HEADS,
                    block_size: BLOCK,
                    head_dim,
                    scores: &mut scores,
                    out: heads.swap_remove(head),
                });
                out.chunks(head_dim)
                    .skip(head)
                    .step_by(HEADS)
                    .map(<[f32]>::to_vec)
                    .collect::<Vec<_>>()
            };
            let together = attend(0, ROWS);
            for (row, together) in together.iter().enumerate() {
                assert!(
                    attend(row, 1)[0] == *together,
                    "{isa}: row {row} differs alone"
                );
            }
            let out = &together[0];
            for (out, expected) in out.iter().zip(&expected) {
                // A probability may be rounded to the other neighbouring half.
                assert!(
                    (f64::from(*out) - expected).abs()
                        < 1e-3 / if size_of::<T>() == 4 { 100.0 } else { 1.0 },
                    "{isa}: {out} instead of {expected}"
                );
            }
        }
    }
}

/// Scales a number in -1..1 to an 8-bit integer.
fn to_int8(value: f32) -> u8 {
    (value * 127.0 + 128.0) as u8
}

#[test]
fn attention_is_correct_for_any_block_order_and_head_size() {
    for head_dim in [16, 20, 32, 256] {
        for len in [1, 4, 5, 33] {
            check_attention(|v| v, |_| Vec::new(), head_dim, len);
            check_attention(f16::from_f32, |_| Vec::new(), head_dim, len);
            check_attention(
                to_int8,
                |v| f16::from_f32(v / 64.0).to_le_bytes().to_vec(),
                head_dim,
                len,
            );
        }
    }
    check_attention(bf16::from_f32, |_| Vec::new(), 64, 9);
}

fn quantized(isa: Isa, values: &[f32]) -> (Vec<i32>, f32) {
    let mut bytes = vec![0u8; values.len()];
    let scale = quantize_head(isa, values, &mut bytes).to_f32();
    let integers = bytes.iter().map(|byte| i32::from(*byte) - 128);
    (integers.collect(), scale)
}

#[test]
fn eight_bit_values_differ_by_half_a_scale_at_most() {
    let smallest = f32::from(f16::from_bits(1));
    // The magnitudes of f16, from its smallest subnormal number to its largest number, and beyond.
    for exponent in -24..=22 {
        let largest = 2f32.powi(exponent);
        for len in [1, 7, 8, 20, 256] {
            let mut values = noise(len, (exponent + 100) as u64);
            values.iter_mut().for_each(|value| *value *= largest);
            values[len / 2] = largest;
            let expected = quantized(Isa::available()[0], &values);
            for isa in Isa::available() {
                let (integers, scale) = quantized(isa, &values);
                assert_eq!((&integers, scale), (&expected.0, expected.1), "{isa}");
                // Rounded up to f16, with 11 bits.
                let exact = largest / 127.0;
                assert!(scale >= exact && scale <= exact * (1.0 + 1.0 / 1024.0) + smallest);
                for (integer, value) in integers.iter().zip(&values) {
                    assert!((-127..=127).contains(integer));
                    // Plus the rounding of the product with the inverse of the scale.
                    let error = (*integer as f32 * scale - value).abs();
                    assert!(
                        error <= 0.5001 * scale,
                        "{isa}: {integer} * {scale} is not {value}"
                    );
                }
            }
        }
    }
}

#[test]
fn eight_bit_values_have_fixed_roundings() {
    for isa in Isa::available() {
        assert_eq!(quantized(isa, &[0.0, -0.0]), (vec![0, 0], 0.0));
        assert_eq!(quantized(isa, &[127.0, -127.0]), (vec![127, -127], 1.0));
        // Ties to even, as on a GPU.
        let ties = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
        assert_eq!(quantized(isa, &ties).0, [127, 0, 2, 2, 0, -2, -2]);
        // The scale of the smallest f16 is itself, and that of the smallest f32 is 0.
        let smallest = f32::from(f16::from_bits(1));
        assert_eq!(quantized(isa, &[smallest, 0.0]), (vec![1, 0], smallest));
        assert_eq!(quantized(isa, &[f32::from_bits(1)]), (vec![0], 0.0));
    }
}

#[test]
fn non_finite_values_make_every_product_nan() {
    let too_large = 127.0 * f32::from(f16::MAX) * 1.01;
    for bad in [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        too_large,
    ] {
        for at in [0, 9, 19] {
            let mut values = noise(20, 7);
            values[at] = bad;
            for isa in Isa::available() {
                let (integers, scale) = quantized(isa, &values);
                assert!(
                    integers.iter().all(|i| (*i as f32 * scale).is_nan()),
                    "{isa}: {bad} at {at}"
                );
            }
        }
    }
}
