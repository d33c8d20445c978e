//! Every kernel on every instruction set that this machine has, against plain f64 arithmetic; and
//! bit for bit against itself.
#![allow(clippy::unwrap_used)]

mod int8;

use bytes::Bytes;
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use proptest::prelude::*;

use super::{
    DisjointMatrix, Isa,
    attention::{CacheElement, Queries, ROWS},
    elementwise,
};
use crate::{DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, Linear, LinearWeight};

/// A few thousand f32 additions of terms near 1, against f64.
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

/// `y = x W^T + bias` in f64, with the sum of magnitudes beside each output: what its rounding
/// error scales with.
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

/// Right on every instruction set, and each row the same bits as alone.
fn check(weight: LinearWeight, w: &[f64], rows: usize) {
    let linear_bias = |outputs| noise(outputs, 3);
    let outputs = match &weight {
        LinearWeight::Dense(dense) => dense.out_features,
        LinearWeight::Gptq(gptq) => gptq.out_features,
    };
    let bias = linear_bias(outputs);
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
    // One byte off, as in a file without padding.
    let data = Bytes::from([&[0u8][..], &data].concat()).slice(1..);
    check(
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
fn dense_products_are_right_where_nothing_is_a_whole_vector() {
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
fn dense_products_are_right_over_several_blocks_and_chunks_of_rows() {
    check_dense(DenseDtype::F16, 1, 100, 2100);
    check_dense(DenseDtype::BF16, 3, 7, 2048);
    check_dense(DenseDtype::F32, 11, 203, 2061);
    check_dense(DenseDtype::F16, 517, 9, 1100);
}

#[test]
fn dense_products_are_right_where_x_is_wider_than_the_first_level_cache() {
    for rows in 1..=5 {
        check_dense(DenseDtype::F16, rows, 1, 9 * 1024 + 33);
        check_dense(DenseDtype::BF16, rows, 19, 9 * 1024);
        check_dense(DenseDtype::F32, rows, 10, 8 * 1024 + 16);
    }
    check_dense(DenseDtype::F16, 1, 67, 4 * 1024 + 33); // one that fits, in several blocks
}

/// A packed matrix in the published layout, and what it stands for.
fn packed(
    bits: GptqBits,
    outputs: usize,
    inputs: usize,
    group_size: usize,
    groups: GroupIndex,
) -> (LinearWeight, Vec<f64>) {
    let (width, per_word) = (bits.bits(), bits.per_word());
    let num_groups = inputs.div_ceil(group_size);
    let top = (1u32 << width) - 1;
    let mut state = 11u32;
    let mut field = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 20) & top
    };
    let q: Vec<u32> = (0..inputs * outputs).map(|_| field()).collect(); // [inputs, outputs]
    // Stored zero points less one: 2^bits - 1 stands for the zero 2^bits, which must not wrap.
    let zeros: Vec<u32> = (0..num_groups * outputs)
        .map(|i| if i % 5 == 0 { top } else { field() })
        .collect();
    let scales: Vec<f16> = noise(num_groups * outputs, 13)
        .iter()
        .map(|v| f16::from_f32(v.abs() * 0.1))
        .collect();
    let mut qweight = vec![0u32; inputs / per_word * outputs];
    for (i, q) in q.iter().enumerate() {
        let (input, output) = (i / outputs, i % outputs);
        qweight[input / per_word * outputs + output] |= q << (width * (input % per_word));
    }
    let zero_words = outputs.div_ceil(per_word);
    let mut qzeros = vec![0u32; num_groups * zero_words];
    for (i, zero) in zeros.iter().enumerate() {
        let (group, output) = (i / outputs, i % outputs);
        qzeros[group * zero_words + output / per_word] |= zero << (width * (output % per_word));
    }
    let group_of = |input: usize| match &groups {
        GroupIndex::Sequential => input / group_size,
        GroupIndex::Permuted(groups) => groups[input] as usize,
    };
    let mut w = vec![0.0; outputs * inputs];
    for input in 0..inputs {
        let group = group_of(input);
        for output in 0..outputs {
            let zero = f64::from(zeros[group * outputs + output]) + 1.0;
            w[output * inputs + input] = scales[group * outputs + output].to_f64()
                * (f64::from(q[input * outputs + output]) - zero);
        }
    }
    let words = |words: &[u32]| {
        Bytes::from(
            words
                .iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<u8>>(),
        )
    };
    let scales = Bytes::from(
        scales
            .iter()
            .flat_map(|scale| scale.to_le_bytes())
            .collect::<Vec<u8>>(),
    );
    let weight = GptqWeight {
        bits,
        group_size,
        in_features: inputs,
        out_features: outputs,
        qweight: words(&qweight),
        qzeros: words(&qzeros),
        scales,
        groups,
    };
    (LinearWeight::Gptq(weight), w)
}

#[test]
fn packed_products_are_right_in_groups_of_any_shape() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        for (rows, outputs, inputs, group) in [
            (1, 16, 128, 128),
            (1, 515, 256, 128),
            (2, 160, 128, 64),
            (3, 33, 96, 32),
            (7, 130, 320, 128),
            (13, 64, 64, 1000),
        ] {
            let (weight, w) = packed(bits, outputs, inputs, group, GroupIndex::Sequential);
            check(weight, &w, rows);
        }
    }
}

#[test]
fn packed_products_are_right_in_order_of_activation_also_with_uneven_groups() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        for spread in [3usize, 7] {
            // Group 0 gets more than its share, so that groups end in the middle of words.
            let groups = (0..256usize)
                .map(|input| {
                    if input % spread == 0 {
                        0
                    } else {
                        (input * 5 % 2) as u32
                    }
                })
                .collect();
            let (weight, w) = packed(bits, 70, 256, 128, GroupIndex::Permuted(groups));
            check(weight, &w, 1);
            let groups = (0..256u32).map(|input| input * 37 % 256 / 128).collect();
            let (weight, w) = packed(bits, 64, 256, 128, GroupIndex::Permuted(groups));
            check(weight, &w, 5);
        }
    }
}

#[test]
fn inputs_next_to_nothing_give_the_same_bits_alone_and_beside_others() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        let (weight, _) = packed(bits, 24, 64, 32, GroupIndex::Sequential);
        let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
        // From the smallest numbers there are, with all their digits, to 2^-103 and 2^-86.
        for exponents in [24, 41] {
            let x: Vec<f32> = (0..64)
                .map(|input| f32::from_bits((input % exponents) << 23 | 0x2A_AAAB))
                .collect();
            let two = [&x[..], &noise(64, 9)].concat();
            for isa in Isa::available() {
                assert_eq!(
                    run(&linear, &x, isa),
                    run(&linear, &two, isa)[..24],
                    "{isa}, {exponents}"
                );
            }
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused_with_the_rule() {
    let (weight, _) = packed(GptqBits::Four, 16, 128, 128, GroupIndex::Sequential);
    let LinearWeight::Gptq(good) = weight else {
        panic!()
    };
    let bad = |change: &dyn Fn(&mut GptqWeight)| {
        let mut weight = good.clone();
        change(&mut weight);
        Linear::new(LinearWeight::Gptq(weight), None, &Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    assert!(bad(&|w| w.in_features = 100).contains("a multiple of 8"));
    assert!(bad(&|w| w.group_size = 100).contains("group_size"));
    assert!(bad(&|w| w.qweight = w.qweight.slice(4..)).contains("qweight bytes"));
    assert!(bad(&|w| w.groups = GroupIndex::Permuted(vec![1; 128])).contains("group index"));
    let linear = Linear::new(LinearWeight::Gptq(good), None, &Device::Cpu).unwrap();
    let x = Tensor::zeros((1, 127), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(
        linear
            .forward(&x)
            .unwrap_err()
            .to_string()
            .contains("[rows, 128]")
    );
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (weight, _) = packed(GptqBits::Four, 1030, 256, 128, GroupIndex::Sequential);
    let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
    let x = noise(3 * 256, 17);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run(&linear, &x, super::cpu_features()))
    };
    assert!(with(1) == with(2) && with(1) == with(7));
}

fn check_attention<T: CacheElement>(convert: impl Fn(f32) -> T, head_dim: usize, len: usize) {
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
                    out: DisjointMatrix::new(&mut out, HEADS * head_dim),
                    first_row: 0,
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
                // A probability may be rounded to the other neighbour of a half type.
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
fn attention_reads_blocks_in_any_order_and_heads_of_any_size() {
    for head_dim in [16, 20, 32, 256] {
        for len in [1, 4, 5, 33] {
            check_attention(|v| v, head_dim, len);
            check_attention(f16::from_f32, head_dim, len);
        }
    }
    check_attention(bf16::from_f32, 64, 9);
}

proptest! {
    #[test]
    fn exp_is_right_within_two_units_in_the_last_place(x in -100f32..88.0) {
        let (found, exact) = (f64::from(elementwise::exp(x)), f64::from(x).exp());
        prop_assert!((found - exact).abs() <= exact * 2.4e-7 + 1e-44, "exp({x}) = {found} instead of {exact}");
    }

    #[test]
    fn gelu_is_the_tanh_form(x in -30f32..30.0) {
        let mut found = [x];
        elementwise::gelu(super::cpu_features(), &mut found);
        let wide = f64::from(x);
        let exact = 0.5 * wide * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3))).tanh());
        prop_assert!((f64::from(found[0]) - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "gelu({x}) = {} instead of {exact}", found[0]);
    }
}

#[test]
fn exp_keeps_nan_and_the_ends() {
    assert!(elementwise::exp(f32::NAN).is_nan());
    assert_eq!(
        (elementwise::exp(f32::NEG_INFINITY), elementwise::exp(0.0)),
        (0.0, 1.0)
    );
    assert!(elementwise::exp(f32::INFINITY) > 1e38);
}
