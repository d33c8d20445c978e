//! GPTQ matrix products with 8-bit activations: exact for integers, and the same bits on every
//! instruction set.

use candle_core::Device;
use half::f16;
use moss_weights::synthetic::{self, Grouping};

use super::{noise, run};
use crate::{
    Activations, DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, Isa, Linear,
    LinearWeight, kernels::cpu_features,
};

const BITS: [GptqBits; 2] = [GptqBits::Four, GptqBits::Eight];

/// Rows, outputs, inputs and groups: partial vectors and tiles; groups of all sizes in use, longer
/// than a piece, and ending within words.
const CASES: [(usize, usize, usize, Grouping); 9] = [
    (1, 16, 128, Grouping::Runs(128)),
    (1, 515, 256, Grouping::Runs(16)),
    (2, 160, 128, Grouping::Runs(64)),
    (3, 33, 96, Grouping::Runs(32)),
    (7, 130, 320, Grouping::Runs(128)),
    (13, 67, 1544, Grouping::Runs(1 << 20)),
    (20, 64, 1600, Grouping::Runs(600)),
    (5, 70, 256, Grouping::Permuted(128)),
    (8, 65, 384, Grouping::Uneven(96)),
];

fn linear(weight: GptqWeight, bias: Option<Vec<f32>>) -> Linear {
    let linear = Linear::new(LinearWeight::Gptq(weight), bias, &Device::Cpu).unwrap();
    linear.with_activations(Activations::Int8).unwrap()
}

/// Returns a weight of integers: its scales are 1.
fn integer_weight(
    bits: GptqBits,
    inputs: usize,
    outputs: usize,
    grouping: Grouping,
    seed: u32,
) -> GptqWeight {
    let weight = synthetic::packed(bits, inputs, outputs, grouping, seed);
    GptqWeight {
        scales: f16::ONE
            .to_le_bytes()
            .repeat(weight.scales.len() / 2)
            .into(),
        ..weight
    }
}

/// Returns the inputs that are rounded together: those of a group, in order, 512 at a time.
fn pieces(weight: &GptqWeight) -> Vec<Vec<usize>> {
    let group_of = |input: usize| match &weight.groups {
        GroupIndex::Sequential => input / weight.group_size,
        GroupIndex::Permuted(groups) => groups[input] as usize,
    };
    let inputs = |group| {
        (0..weight.in_features)
            .filter(|input| group_of(*input) == group)
            .collect::<Vec<_>>()
    };
    let groups = (0..weight.num_groups()).map(inputs);
    groups
        .flat_map(|inputs| {
            inputs
                .chunks(512)
                .map(<[usize]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn integers_are_multiplied_exactly_on_every_instruction_set() {
    for bits in BITS {
        for (rows, outputs, inputs, grouping) in CASES {
            let weight = integer_weight(bits, inputs, outputs, grouping, 3);
            let w = synthetic::unpacked(&weight);
            let pieces = pieces(&weight);
            // Integers up to 127 in each piece, so that steps are 1. One row has the largest value
            // only.
            let mut x: Vec<f32> = noise(rows * inputs, 5)
                .iter()
                .map(|x| (x * 127.0).round())
                .collect();
            x[..inputs].fill(127.0);
            for row in 0..rows {
                pieces
                    .iter()
                    .filter_map(|piece| piece.last())
                    .for_each(|last| x[row * inputs + last] = -127.0);
            }
            let expected: Vec<f32> = (0..rows * outputs)
                .map(|at| {
                    let (row, output) = (at / outputs, at % outputs);
                    let product = |input: &usize| {
                        x[row * inputs + input] as i64 * w[output * inputs + input].to_f32() as i64
                    };
                    pieces
                        .iter()
                        .map(|piece| piece.iter().map(product).sum::<i64>() as f32)
                        .sum()
                })
                .collect();
            let linear = linear(weight, None);
            for isa in Isa::available() {
                assert!(
                    run(&linear, &x, isa) == expected,
                    "{isa}, {bits:?}, {rows} rows, {grouping:?}"
                );
            }
        }
    }
}

#[test]
fn rows_have_the_same_bits_alone_and_on_every_instruction_set() {
    for bits in BITS {
        for (rows, outputs, inputs, grouping) in CASES {
            let weight = synthetic::packed(bits, inputs, outputs, grouping, 7);
            let linear = linear(weight, Some(noise(outputs, 3)));
            let x = noise(rows * inputs, 5);
            let together = run(&linear, &x, Isa::available()[0]);
            for isa in Isa::available() {
                assert!(
                    run(&linear, &x, isa) == together,
                    "{isa}, {bits:?}, {rows} rows, {grouping:?}"
                );
                for (x, y) in x.chunks(inputs).zip(together.chunks(outputs)) {
                    assert!(
                        run(&linear, x, isa) == y,
                        "{isa}, {bits:?}, a row of {rows}, {grouping:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let linear = linear(
        synthetic::packed(GptqBits::Four, 640, 1030, Grouping::Runs(128), 1),
        None,
    );
    let x = noise(300 * 640, 17);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run(&linear, &x, cpu_features()))
    };
    assert!(with(1) == with(2) && with(1) == with(7));
}

/// Error of a dozen f32 additions of pieces, relative to the sum of magnitudes.
const TOL: f64 = 1e-6;

#[test]
fn inputs_are_rounded_to_127_steps_of_the_largest_in_a_group() {
    for bits in BITS {
        for (rows, outputs, inputs, grouping) in CASES {
            let weight = integer_weight(bits, inputs, outputs, grouping, 9);
            let (w, pieces) = (synthetic::unpacked(&weight), pieces(&weight));
            let mut x = noise(rows * inputs, 5);
            x.iter_mut().step_by(29).for_each(|x| *x *= 30.0);
            let linear = linear(weight, None);
            let y = run(&linear, &x, cpu_features());
            for (at, y) in y.iter().enumerate() {
                let (x, w) = (
                    &x[at / outputs * inputs..][..inputs],
                    &w[at % outputs * inputs..][..inputs],
                );
                let (mut expected, mut size) = (0.0, 0.0);
                for piece in &pieces {
                    let largest = piece
                        .iter()
                        .fold(0f32, |largest, input| largest.max(x[*input].abs()));
                    for &input in piece {
                        let steps = f64::from((x[input] * (127.0 / largest)).round_ties_even());
                        let term = steps * f64::from(largest) / 127.0 * w[input].to_f64();
                        (expected, size) = (expected + term, size + term.abs());
                    }
                }
                let off = (f64::from(*y) - expected).abs();
                assert!(
                    off <= TOL * size,
                    "{bits:?}, {grouping:?}: {y} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn zeros_give_the_bias_and_non_finite_inputs_give_non_finite_outputs() {
    for bits in BITS {
        let bias = noise(40, 3);
        let linear = linear(
            synthetic::packed(bits, 256, 40, Grouping::Runs(64), 1),
            Some(bias.clone()),
        );
        for isa in Isa::available() {
            let mut x = noise(4 * 256, 5);
            x[..256].fill(0.0);
            x[256..512].fill(1e-42); // the inverse of the step overflows
            (x[512 + 70], x[768 + 200]) = (f32::NAN, f32::NEG_INFINITY);
            let y = run(&linear, &x, isa);
            assert!(y[..40] == bias && y[40..80] == bias, "{isa}");
            assert!(y[80..].iter().all(|y| !y.is_finite()), "{isa}");
        }
    }
}

#[test]
fn dense_weights_reject_8_bit_activations() {
    let data = vec![0; 2 * 16 * 8].into();
    let weight = DenseWeight {
        dtype: DenseDtype::F16,
        out_features: 8,
        in_features: 16,
        data,
    };
    let linear = Linear::new(LinearWeight::Dense(weight), None, &Device::Cpu).unwrap();
    let error = linear.with_activations(Activations::Int8).unwrap_err();
    assert!(
        error.to_string().contains("F16") && error.hint().is_some(),
        "{error}"
    );
}
