//! Linear layers: input types, views, and rejected arguments.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use candle_core::{DType, Device, Tensor};
use moss_cpu::{DenseDtype, DenseWeight, Linear, LinearWeight};

const INPUTS: usize = 40;
const OUTPUTS: usize = 19;

fn linear() -> Linear {
    let values = (0..OUTPUTS * INPUTS).map(|i| (i % 23) as f32 / 8.0 - 1.0);
    let data = Bytes::from(values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    let weight = DenseWeight {
        dtype: DenseDtype::F32,
        out_features: OUTPUTS,
        in_features: INPUTS,
        data,
    };
    Linear::new(
        LinearWeight::Dense(weight),
        Some(vec![0.5; OUTPUTS]),
        &Device::Cpu,
    )
    .unwrap()
}

fn bits(y: &Tensor) -> Vec<u32> {
    y.flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

#[test]
fn half_inputs_give_the_results_of_their_f32_values() {
    let x = Tensor::randn(0f32, 1.0, (5, INPUTS), &Device::Cpu).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let half = x.to_dtype(dtype).unwrap();
        let wide = half.to_dtype(DType::F32).unwrap();
        assert_eq!(
            bits(&linear().forward(&half).unwrap()),
            bits(&linear().forward(&wide).unwrap())
        );
    }
}

#[test]
fn a_view_of_rows_gives_the_results_of_a_copy() {
    let x = Tensor::randn(0f32, 1.0, (7, INPUTS), &Device::Cpu).unwrap();
    let view = x.narrow(0, 2, 3).unwrap();
    let copy = Tensor::from_vec(
        view.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        (3, INPUTS),
        &Device::Cpu,
    );
    assert_eq!(
        bits(&linear().forward(&view).unwrap()),
        bits(&linear().forward(&copy.unwrap()).unwrap())
    );
}

#[test]
fn an_input_without_rows_gives_an_empty_result() {
    let x = Tensor::zeros((0, INPUTS), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(linear().forward(&x).unwrap().dims(), [0, OUTPUTS]);
}

#[test]
fn errors_name_a_bias_of_another_length_and_integer_inputs() {
    let data = Bytes::from(vec![0u8; OUTPUTS * INPUTS * 4]);
    let weight = DenseWeight {
        dtype: DenseDtype::F32,
        out_features: OUTPUTS,
        in_features: INPUTS,
        data,
    };
    let error = Linear::new(
        LinearWeight::Dense(weight),
        Some(vec![0.0; 3]),
        &Device::Cpu,
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "linear: `bias length` is 3, expected 19");
    let ids = Tensor::zeros((1, INPUTS), DType::U32, &Device::Cpu).unwrap();
    assert_eq!(
        linear().forward(&ids).unwrap_err().to_string(),
        "linear: `x` is u32, expected f32, f16 or bf16"
    );
}

#[test]
fn a_weight_without_inputs_or_outputs_is_rejected() {
    let error = |out_features, in_features| {
        let weight = DenseWeight {
            dtype: DenseDtype::F16,
            out_features,
            in_features,
            data: Bytes::new(),
        };
        Linear::new(LinearWeight::Dense(weight), None, &Device::Cpu)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(OUTPUTS, 0),
        "linear: `in_features` is 0, expected at least 1"
    );
    assert_eq!(
        error(0, INPUTS),
        "linear: `out_features` is 0, expected at least 1"
    );
}
