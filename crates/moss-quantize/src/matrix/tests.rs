//! Compares every operation on a GPU with the CPU's. On a machine with a GPU:
//! `cargo test -p moss-quantize --features cuda -- --ignored`.
#![allow(clippy::unwrap_used)]

use moss_model::DeviceSpec;

use super::*;
use crate::gptq::tests::noise;

/// The two compute sums of up to some thousand f32 products in different orders. Relative to the
/// largest value.
const TOLERANCE: f32 = 1e-5;

fn devices() -> [Device; 2] {
    let gpu = Device::open(DeviceSpec::Gpu {
        ordinal: 0,
        newest_code: None,
    })
    .unwrap();
    [Device::Cpu, gpu]
}

fn assert_same(what: &str, run: impl Fn(&Device) -> Matrix) {
    let [expected, found] = devices().map(|device| {
        let matrix = run(&device);
        matrix.to_host(0..matrix.rows()).unwrap()
    });
    assert_eq!(expected.len(), found.len(), "{what}");
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (at, (a, b)) in expected.iter().zip(&found).enumerate() {
        assert!(
            (a - b).abs() <= TOLERANCE * largest,
            "{what}: {b} at {at}, expected {a}"
        );
    }
}

fn matrix(device: &Device, rows: usize, columns: usize, seed: u32) -> Matrix {
    Matrix::new(device, &noise(rows * columns, seed), columns).unwrap()
}

#[test]
#[ignore = "needs a GPU"]
fn products_of_blocks_match_the_cpu() {
    for store in [Store::Overwrite, Store::Add] {
        for (alpha, transposed) in [
            (1.0, [false, false]),
            (-1.0, [true, false]),
            (0.3, [false, true]),
            (2.0, [true, true]),
        ] {
            assert_same(
                &format!("gemm {store:?} {alpha} {transposed:?}"),
                |device| {
                    let mut y = matrix(device, 40, 33, 1);
                    let part = |matrix, transposed, rows: Range<usize>, columns: Range<usize>| {
                        let part = Matrix::part(matrix, rows).columns(columns);
                        if transposed { part.transposed() } else { part }
                    };
                    let (a, b) = (matrix(device, 70, 70, 2), matrix(device, 70, 70, 3));
                    let left = match transposed[0] {
                        false => part(&a, false, 7..24, 3..60),
                        true => part(&a, true, 3..60, 7..24),
                    };
                    let right = match transposed[1] {
                        false => part(&b, false, 10..67, 20..53),
                        true => part(&b, true, 20..53, 10..67),
                    };
                    y.gemm(20..37, alpha, &left, &right, store).unwrap();
                    y
                },
            );
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn norm_bias_and_activation_match_the_cpu() {
    for columns in [1, 31, 256, 257, 4096] {
        assert_same(&format!("layer_norm {columns}"), |device| {
            let (weight, bias) = (matrix(device, 1, columns, 4), matrix(device, 1, columns, 5));
            matrix(device, 9, columns, 6)
                .layer_norm(&weight, &bias, 1e-5)
                .unwrap()
        });
        for gelu in [false, true] {
            assert_same(&format!("add_bias {columns} {gelu}"), |device| {
                let mut x = matrix(device, 9, columns, 6);
                x.add_bias(&matrix(device, 1, columns, 7), gelu).unwrap();
                x
            });
        }
    }
}

#[test]
#[ignore = "needs a GPU"]
fn attention_operations_match_the_cpu() {
    for (heads, head_dim, rotary) in [(4, 16, 16), (8, 64, 32), (4, 256, 64), (4, 32, 0)] {
        let (rows, positions, start) = (13, 40, 5);
        for wanted in 0..4 {
            assert_same(
                &format!("heads {heads} {head_dim} {rotary}, {wanted}"),
                |device| {
                    let angles = Angles::new(device, rotary, positions).unwrap();
                    let layout = HeadLayout {
                        num_heads: heads,
                        head_dim,
                        shards: 4,
                    };
                    let qkv = matrix(device, rows + 4, 3 * heads * head_dim, 8);
                    let mut cache =
                        [(); 2].map(|()| matrix(device, heads * positions, head_dim, 9));
                    let q = qkv
                        .split_heads(2..2 + rows, &angles, layout, &mut cache, start)
                        .unwrap();
                    let [keys, values] = cache;
                    match wanted {
                        0 => q,
                        1 => keys,
                        2 => values,
                        _ => {
                            let mut merged = matrix(device, rows + 3, heads * head_dim, 10);
                            merged.merge_heads(3, &q, heads).unwrap();
                            merged
                        }
                    }
                },
            );
        }
    }
    for (rows, columns, first) in [(1, 1, 0), (7, 40, 33), (40, 600, 560), (64, 64, 0)] {
        assert_same(&format!("softmax {rows} {columns} {first}"), |device| {
            let mut scores = matrix(device, rows, columns, 11);
            scores.causal_softmax(first).unwrap();
            scores
        });
    }
}

#[test]
#[ignore = "needs a GPU"]
fn permutation_and_copies_match_the_cpu() {
    for (n, width) in [(10usize, 3), (64, 64), (300, 128)] {
        let place: Vec<u32> = (0..n as u32).map(|at| (at * 7 + 3) % n as u32).collect();
        for wanted in 0..n.div_ceil(width) {
            // Only the upper triangle is defined: the rest of a diagonal block is cleared before the
            // comparison.
            assert_same(&format!("permuted {n} {width}, panel {wanted}"), |device| {
                let square = noise(n * n, 12);
                let panel = |start: usize| {
                    let end = n.min(start + width);
                    let value = |i: usize, j: usize| square[i.min(j) * n + i.max(j)];
                    let values: Vec<f32> = (0..end)
                        .flat_map(|i| (start..end).map(move |j| (i, j)))
                        .map(|(i, j)| value(i, j))
                        .collect();
                    Matrix::new(device, &values, end - start).unwrap()
                };
                let panels = (0..n).step_by(width).map(panel).collect();
                let panel = Matrix::permute_upper(panels, width, &place)
                    .unwrap()
                    .swap_remove(wanted);
                let (rows, columns) = (panel.rows(), panel.columns());
                let mut values = panel.to_host(0..rows).unwrap();
                let start = rows - columns;
                (start..rows).for_each(|i| values[i * columns..i * columns + i - start].fill(0.0));
                Matrix::new(device, &values, columns).unwrap()
            });
        }
    }
    assert_same("copy and write", |device| {
        let mut to = matrix(device, 12, 9, 13);
        to.copy(3, &matrix(device, 8, 9, 14), 2..6).unwrap();
        to.write(9, &noise(18, 15)).unwrap();
        to
    });
}
