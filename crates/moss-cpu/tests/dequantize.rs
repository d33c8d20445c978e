//! The dequantization operation against the packed kernels: a product with a unit vector selects
//! one input's weights.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use moss_cpu::{GptqBits, GroupIndex, Linear, LinearWeight, ops::PackedWeight};
use moss_weights::synthetic::{Grouping, packed};

const INPUTS: usize = 64;
const OUTPUTS: usize = 40;

#[test]
fn dequantized_weights_have_the_bits_of_products_with_unit_vectors() {
    for bits in [GptqBits::Four, GptqBits::Eight] {
        for is_permuted in [false, true] {
            let mut weight = packed(bits, INPUTS, OUTPUTS, Grouping::Runs(16), 3);
            if is_permuted {
                let groups = (0..INPUTS as u32).map(|input| input * 7 % 4);
                weight.groups = GroupIndex::Permuted(groups.collect());
            }
            let found = PackedWeight::new(&weight).unwrap().dequantize().unwrap();
            assert_eq!(found.dims(), [INPUTS, OUTPUTS]);
            let linear = Linear::new(LinearWeight::Gptq(weight), None, &Device::Cpu).unwrap();
            let unit_vectors = Tensor::eye(INPUTS, DType::F32, &Device::Cpu).unwrap();
            let expected = linear.forward(&unit_vectors).unwrap();
            let values = |x: &Tensor| x.to_vec2::<f32>().unwrap();
            assert!(
                values(&expected)
                    .iter()
                    .flatten()
                    .any(|value| *value != 0.0)
            );
            assert_eq!(values(&found), values(&expected), "{bits:?} {is_permuted}");
        }
    }
}

#[test]
fn a_weight_with_missing_bytes_is_refused() {
    let mut weight = packed(GptqBits::Four, INPUTS, OUTPUTS, Grouping::Runs(16), 3);
    weight.scales = weight.scales.slice(2..);
    let error = PackedWeight::new(&weight).unwrap_err();
    assert!(error.to_string().contains("scales"), "{error}");
}
