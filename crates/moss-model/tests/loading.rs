//! Checkpoints with unusual or invalid contents.
#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use candle_core::{Device, Tensor};
use moss_checkpoint::{Checkpoint, CheckpointError};
use moss_cpu::{Activations, GptqBits, Linear};
use moss_model::{
    BlockPool, BlockTable, CacheShape, ComputeDtype, LanguageModel, LinearShape, LoadOptions,
    LogitRows, ModelError, Moss, MossConfig, SequenceChunk, TokenKind, WeightFormat, WeightSource,
    placement::{self, DeviceKind, ModelBytes, PlacementError, Request, place},
};
use moss_testing::{
    checkpoint::{Tensors, safetensors_folder, tensors_of},
    fixture, ids, read_json,
};
use safetensors::Dtype;
use serde_json::{Value, json};

fn tensors(name: &str) -> Tensors {
    tensors_of(&fixture(name))
}

fn config(name: &str) -> Value {
    read_json(fixture(name).join("config.json"))
}

fn load(folder: &Path, options: &LoadOptions) -> Result<Moss, ModelError> {
    Moss::load(&Checkpoint::open(folder)?, options, &mut |_| {})
}

/// Returns the logits of the last of `ids`.
fn logits(folder: &Path, ids: &[u32], options: &LoadOptions) -> Vec<f32> {
    let mut model = load(folder, options).unwrap();
    let mut pool = BlockPool::new(model.cache_shape());
    let mut blocks = BlockTable::default();
    pool.grow(&mut blocks, ids.len()).unwrap();
    let chunk = SequenceChunk {
        token_ids: ids,
        kind: TokenKind::Prompt,
        start_pos: 0,
        blocks: &blocks,
        logits: LogitRows::Last,
    };
    model.forward(&[chunk], &|| false).unwrap()[0]
        .values()
        .to_vec()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// Returns ids, and the logits of the last of them, which a reference in double precision computed.
fn expected(name: &str) -> (Vec<u32>, Vec<f32>) {
    let json = read_json(fixture(name).join("expected.json"));
    (
        ids(&json["ids"]),
        json["logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32)
            .collect(),
    )
}

#[test]
fn the_bias_of_a_tied_head_is_used() {
    let (ids, expected) = expected("tied-bias");
    let options = LoadOptions::cpu(64);
    let found = logits(&fixture("tied-bias"), &ids, &options);
    assert!(
        furthest(&found, &expected) < 1e-4,
        "off by {}",
        furthest(&found, &expected)
    );
    // Without the bias, the error would be its largest value.
    let mut without = tensors("tied-bias");
    without.remove("lm_head.bias");
    let without = logits(
        safetensors_folder(&without, &config("tied-bias")).path(),
        &ids,
        &options,
    );
    assert!(furthest(&without, &expected) > 0.3);
}

#[test]
fn a_newer_single_file_takes_precedence_over_a_stale_index() {
    let (ids, expected) = expected("stale-index");
    let found = logits(&fixture("stale-index"), &ids, &LoadOptions::cpu(64));
    assert!(
        furthest(&found, &expected) < 1e-4,
        "off by {}",
        furthest(&found, &expected)
    );
}

/// Converts a GPTQ fixture to the other convention of zero points.
fn gptq_v2(name: &str, bits: usize, zero_of: impl Fn(u32) -> u32) -> tempfile::TempDir {
    let (mut tensors, mut config) = (tensors(name), config(name));
    for (_, (.., bytes)) in tensors
        .iter_mut()
        .filter(|(name, _)| name.ends_with(".qzeros"))
    {
        for word in bytes.chunks_exact_mut(4) {
            let old = u32::from_le_bytes(word.try_into().unwrap());
            let field = |at: usize| zero_of(old >> (at * bits) & ((1 << bits) - 1)) << (at * bits);
            word.copy_from_slice(&(0..32 / bits).map(field).sum::<u32>().to_le_bytes());
        }
    }
    config["quantization_config"] = json!({"bits": bits, "group_size": 128, "quant_method": "gptq", "checkpoint_format": "gptq_v2"});
    safetensors_folder(&tensors, &config)
}

#[test]
fn gptq_v2_checkpoints_have_the_logits_of_the_same_weights_in_v1() {
    let ids: Vec<u32> = (0..40).map(|i| i * 7 % 300).collect();
    for (name, bits) in [("mini-int4-act-order", 4), ("mini-int8", 8)] {
        let largest = (1u32 << bits) - 1;
        // v1, with zero points that both conventions can represent: 1 to the largest field.
        let mut ours = tensors(name);
        for (_, (.., bytes)) in ours
            .iter_mut()
            .filter(|(name, _)| name.ends_with(".qzeros"))
        {
            for word in bytes.chunks_exact_mut(4) {
                let old = u32::from_le_bytes(word.try_into().unwrap());
                let field =
                    |at: usize| (old >> (at * bits) & largest).min(largest - 1) << (at * bits);
                word.copy_from_slice(&(0..32 / bits).map(field).sum::<u32>().to_le_bytes());
            }
        }
        let ours = safetensors_folder(&ours, &config(name));
        let theirs = gptq_v2(name, bits, |zero| zero.min(largest - 1) + 1);
        let exact = LoadOptions::cpu(64);
        let rounded = LoadOptions {
            dtype: ComputeDtype::F16,
            activations: Activations::Int8,
            ..LoadOptions::cpu(64)
        };
        for options in [exact, rounded] {
            let [a, b] = [&ours, &theirs].map(|folder| logits(folder.path(), &ids, &options));
            assert_eq!(a, b, "{name}");
        }
    }
}

#[test]
fn groups_without_inputs_have_no_effect() {
    // All inputs are in group 1 of 3; the scales of the others are arbitrary.
    let ids: Vec<u32> = (0..20).map(|i| i * 7 % 300).collect();
    let mut all = tensors("mini-int8");
    let stem = "transformer.h.0.mlp.fc_out";
    all.get_mut(&format!("{stem}.g_idx")).unwrap().2 = [1, 0, 0, 0].repeat(384);
    let first = logits(
        safetensors_folder(&all, &config("mini-int8")).path(),
        &ids,
        &LoadOptions::cpu(64),
    );
    let scales = &mut all.get_mut(&format!("{stem}.scales")).unwrap().2;
    let row = scales.len() / 3;
    scales[..row].fill(0x30);
    scales[2 * row..].fill(0x30);
    let second = logits(
        safetensors_folder(&all, &config("mini-int8")).path(),
        &ids,
        &LoadOptions::cpu(64),
    );
    assert_eq!(first, second);
}

/// Dequantizes the packed linear layer `stem`: its outputs for the unit vectors, `[outputs, inputs]`
/// f32.
fn dense_weight(name: &str, stem: &str, inputs: usize, outputs: usize) -> Vec<u8> {
    let checkpoint = Checkpoint::open(fixture(name)).unwrap();
    let shape = LinearShape {
        in_features: inputs,
        out_features: outputs,
        has_bias: true,
    };
    let parts = WeightSource::linear(&checkpoint, stem, shape).unwrap();
    let units = Tensor::eye(inputs, candle_core::DType::F32, &Device::Cpu).unwrap();
    let columns = Linear::new(parts.weight, None, &Device::Cpu)
        .unwrap()
        .forward(&units)
        .unwrap();
    let values: Vec<f32> = columns
        .t()
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[test]
fn mixed_linear_layers_run_together() {
    let ids: Vec<u32> = (0..20).map(|i| i * 7 % 300).collect();
    let mut mixed = tensors("mini-int8");
    let whole = logits(&fixture("mini-int8"), &ids, &LoadOptions::cpu(64));
    let (stem, inputs, outputs) = ("transformer.h.1.mlp.fc_in", 128, 384);
    let bias = mixed[&format!("{stem}.bias")].clone();
    mixed.retain(|name, _| !name.starts_with(stem));
    let weight = (
        Dtype::F32,
        vec![outputs, inputs],
        dense_weight("mini-int8", stem, inputs, outputs),
    );
    mixed.insert(format!("{stem}.weight"), weight);
    mixed.insert(format!("{stem}.bias"), bias);
    let found = logits(
        safetensors_folder(&mixed, &config("mini-int8")).path(),
        &ids,
        &LoadOptions::cpu(64),
    );
    assert!(
        furthest(&found, &whole) < 1e-4,
        "the same weights, one layer of them dense: sums in another order"
    );
}

/// Sets every key to every value, for tensors that do not determine it: loading returns quickly.
#[test]
fn any_value_of_config_json_loads_or_fails_quickly() {
    let started = Instant::now();
    let keys = [
        "n_layer",
        "n_positions",
        "n_ctx",
        "n_embd",
        "n_head",
        "rotary_dim",
        "vocab_size",
        "n_inner",
        "layer_norm_epsilon",
        "eos_token_id",
        "bos_token_id",
        "wbits",
        "groupsize",
    ];
    let values = [
        json!(0),
        json!(1),
        json!(-1),
        json!(1u64 << 31),
        json!(1u64 << 63),
        json!(u64::MAX),
        json!(1e30),
        json!("128"),
        Value::Null,
        json!([1]),
    ];
    for name in ["mini-fp16-safetensors", "mini-int8"] {
        let (all, usual) = (tensors(name), config(name));
        for key in keys {
            for value in &values {
                let mut config = usual.clone();
                config[key] = value.clone();
                let folder = safetensors_folder(&all, &config);
                let loaded = load(folder.path(), &LoadOptions::cpu(64));
                let is_size = [
                    "n_layer",
                    "n_positions",
                    "n_embd",
                    "n_head",
                    "vocab_size",
                    "layer_norm_epsilon",
                ];
                let is_harmless = value.is_null() || *value == json!(1);
                if is_size.contains(&key) && !is_harmless {
                    let error = loaded
                        .err()
                        .unwrap_or_else(|| panic!("{key} {value} was accepted"));
                    assert!(!error.to_string().is_empty(), "{key} {value}");
                }
            }
        }
    }
    assert!(
        started.elapsed() < Duration::from_secs(60),
        "{:?}",
        started.elapsed()
    );
    let mut usual = config("mini-fp16-safetensors");
    usual["n_positions"] = json!(1_000_000);
    let error = load(
        safetensors_folder(&tensors("mini-fp16-safetensors"), &usual).path(),
        &LoadOptions::cpu(64),
    )
    .unwrap_err();
    assert!(
        matches!(
            &error,
            ModelError::Config {
                key: "n_positions",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn missing_layers_are_an_error_before_loading() {
    let mut few = tensors("mini-fp16-safetensors");
    few.retain(|name, _| !name.starts_with("transformer.h."));
    let mut config = config("mini-fp16-safetensors");
    config["n_layer"] = json!(1000);
    let error = load(
        safetensors_folder(&few, &config).path(),
        &LoadOptions::cpu(64),
    )
    .unwrap_err();
    let ModelError::Checkpoint(CheckpointError::MissingTensor { name, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(name, "transformer.h.999.ln_1.weight");
}

#[test]
fn byte_counts_of_huge_networks_do_not_overflow() {
    let huge = usize::MAX / 3;
    let options = LoadOptions {
        cache: CacheShape {
            block_size: huge,
            num_blocks: huge,
        },
        ..LoadOptions::cpu(1)
    };
    for config in [
        MossConfig {
            hidden_size: huge,
            head_dim: huge,
            ..MossConfig::moon_003()
        },
        MossConfig {
            vocab_size: huge,
            inner_size: huge,
            ..MossConfig::moon_003()
        },
        MossConfig {
            num_heads: huge,
            head_dim: huge,
            ..MossConfig::moon_003()
        },
    ] {
        for format in [WeightFormat::F16, WeightFormat::Gptq(GptqBits::Four)] {
            let model = ModelBytes::in_format(&config, format, &options);
            assert!(config.cache_bytes_per_position(usize::MAX) > 0);
            let gpu = |ordinal| placement::Device {
                name: "x".into(),
                kind: DeviceKind::Gpu { ordinal },
                free: u64::MAX,
                bandwidth: f64::MAX,
            };
            for count in [1, 3, 129] {
                let devices: Vec<_> = (0..count).map(gpu).collect();
                let request = Request {
                    model: &model,
                    devices: &devices,
                    layers_per_device: None,
                    other_formats: &[],
                };
                let placed = place(&request);
                assert_eq!(
                    matches!(placed, Err(PlacementError::Devices { .. })),
                    count == 129
                );
            }
        }
    }
}
