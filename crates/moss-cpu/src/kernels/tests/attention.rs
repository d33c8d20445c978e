//! Attention.

use half::{bf16, f16};

use super::noise;
use crate::kernels::{
    Element, Isa,
    attention::{Queries, ROWS},
    split_columns,
};

fn check_attention<T: Element>(convert: impl Fn(f32) -> T, head_dim: usize, len: usize) {
    const HEADS: usize = 3;
    const BLOCK: usize = 4;
    let num_blocks = (len + ROWS).div_ceil(BLOCK) + 2;
    let cache = |seed| -> Vec<T> {
        noise(num_blocks * HEADS * BLOCK * head_dim, seed)
            .into_iter()
            .map(&convert)
            .collect()
    };
    let (keys, values, q) = (cache(1), cache(2), noise(ROWS * HEADS * head_dim, 3));
    // Blocks out of order.
    let blocks: Vec<u32> = (0..(len + ROWS).div_ceil(BLOCK) as u32).rev().collect();
    for head in 0..HEADS {
        let row = |storage: &[T], position: usize| -> Vec<f64> {
            let block = blocks[position / BLOCK] as usize;
            let first = ((block * HEADS + head) * BLOCK + position % BLOCK) * head_dim;
            storage[first..][..head_dim]
                .iter()
                .map(|value| f64::from(value.widen()))
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

#[test]
fn attention_is_correct_for_any_block_order_and_head_size() {
    for head_dim in [16, 20, 32, 256] {
        for len in [1, 4, 5, 33] {
            check_attention(|v| v, head_dim, len);
            check_attention(f16::from_f32, head_dim, len);
        }
    }
    check_attention(bf16::from_f32, 64, 9);
}
