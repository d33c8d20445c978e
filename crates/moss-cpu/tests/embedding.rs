//! Look-up of token embeddings.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use candle_core::Device;
use half::{bf16, f16};
use moss_cpu::{DenseDtype, DenseWeight, ops::Embedding};

/// Returns a value that is exact in every type.
fn value(i: usize) -> f32 {
    i as f32 / 4.0 - 2.0
}

fn embedding(dtype: DenseDtype) -> Embedding {
    let bytes = |value: f32| match dtype {
        DenseDtype::F32 => value.to_le_bytes().to_vec(),
        DenseDtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        DenseDtype::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
    };
    // Unaligned by one byte, as in a file without padding.
    let data: Vec<u8> = std::iter::once(0)
        .chain((0..5 * 3).flat_map(|i| bytes(value(i))))
        .collect();
    let data = Bytes::from(data).slice(1..);
    Embedding::new(DenseWeight {
        dtype,
        out_features: 5,
        in_features: 3,
        data,
    })
    .unwrap()
}

#[test]
fn lookup_returns_rows_in_the_order_of_the_ids_for_every_type() {
    for dtype in [DenseDtype::F32, DenseDtype::F16, DenseDtype::BF16] {
        let rows = embedding(dtype)
            .lookup(&[4, 0, 4], &Device::Cpu)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let row = |id: usize| (0..3).map(|lane| value(id * 3 + lane)).collect::<Vec<_>>();
        assert_eq!(rows, [row(4), row(0), row(4)], "{dtype:?}");
    }
}

#[test]
fn an_id_past_the_table_and_a_short_table_are_rejected() {
    let error = embedding(DenseDtype::F16)
        .lookup(&[1, 5], &Device::Cpu)
        .unwrap_err();
    assert_eq!(error.to_string(), "embedding: `id` is 5, expected below 5");
    let short = DenseWeight {
        dtype: DenseDtype::F16,
        out_features: 5,
        in_features: 3,
        data: Bytes::from_static(&[0; 28]),
    };
    assert!(
        Embedding::new(short)
            .unwrap_err()
            .to_string()
            .contains("weight bytes")
    );
}
