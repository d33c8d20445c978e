//! GPTQ matrix products with exact activations.

use bytes::Bytes;
use candle_core::{Device, Tensor};
use half::f16;

use super::{check_linear, noise, run};
use crate::{GptqBits, GptqWeight, GroupIndex, Isa, Linear, LinearWeight, kernels::cpu_features};

/// Returns a packed matrix in the published layout, and its dequantized values.
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
    // Zero points are stored minus one: 2^bits - 1 means the zero point 2^bits, which must not wrap.
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
fn packed_products_with_groups_of_any_size_are_correct() {
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
            check_linear(weight, &w, rows);
        }
    }
}

#[test]
fn packed_products_with_act_order_are_correct_for_uneven_groups_too() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        for spread in [3usize, 7] {
            // Group 0 is larger than the others, so that groups end in the middle of words.
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
            check_linear(weight, &w, 1);
            let groups = (0..256u32).map(|input| input * 37 % 256 / 128).collect();
            let (weight, w) = packed(bits, 64, 256, 128, GroupIndex::Permuted(groups));
            check_linear(weight, &w, 5);
        }
    }
}

#[test]
fn tiny_inputs_give_the_same_bits_alone_and_in_a_batch() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        let (weight, _) = packed(bits, 24, 64, 32, GroupIndex::Sequential);
        let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
        // From the smallest normal numbers, with all mantissa bits in use, to 2^-103 and 2^-86.
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
fn errors_for_wrong_lengths_state_the_rule() {
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
fn results_do_not_depend_on_the_number_of_threads() {
    let (weight, _) = packed(GptqBits::Four, 1030, 256, 128, GroupIndex::Sequential);
    let linear = Linear::new(weight, None, &Device::Cpu).unwrap();
    let x = noise(3 * 256, 17);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run(&linear, &x, cpu_features()))
    };
    assert!(with(1) == with(2) && with(1) == with(7));
}
