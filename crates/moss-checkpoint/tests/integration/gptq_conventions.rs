//! Settings in `quantization_config` and `quantize_config.json`, checked against the tensors.

use std::path::Path;

use half::{bf16, f16};
use moss_checkpoint::{Checkpoint, CheckpointError, LinearFormat, Warning, ZeroPoints};
use moss_testing::{
    checkpoint::{self, Tensors, changed, with_quantize_config},
    fixture,
};
use moss_weights::{GptqWeight, GroupIndex, LinearShape, LinearWeight};
use safetensors::Dtype;
use serde_json::{Value, json};

const FC_OUT: &str = "transformer.h.0.mlp.fc_out"; // 384 inputs in three groups

fn gptq(checkpoint: &Checkpoint, stem: &str) -> Result<GptqWeight, CheckpointError> {
    let is_fc_out = stem.ends_with("fc_out");
    let shape = LinearShape {
        in_features: if is_fc_out { 384 } else { 128 },
        out_features: if is_fc_out { 128 } else { 384 },
        has_bias: is_fc_out,
    };
    match checkpoint.linear(stem, shape)?.weight {
        LinearWeight::Gptq(weight) => Ok(weight),
        LinearWeight::Dense(_) => panic!("dense"),
    }
}

/// Computes the weights by the formula, `[in, out]`.
fn dequantised(linear: &GptqWeight) -> Vec<f32> {
    let bits = linear.bits.bits();
    let (per_word, mask) = (32 / bits, (1u32 << bits) - 1);
    let word =
        |data: &[u8], at: usize| u32::from_le_bytes(data[4 * at..4 * at + 4].try_into().unwrap());
    let mut weights = Vec::new();
    for input in 0..linear.in_features {
        let group = match &linear.groups {
            GroupIndex::Sequential => input / linear.group_size,
            GroupIndex::Permuted(groups) => groups[input] as usize,
        };
        for output in 0..linear.out_features {
            let q = word(
                &linear.qweight,
                input / per_word * linear.out_features + output,
            ) >> (input % per_word * bits)
                & mask;
            let zeros = linear.out_features.div_ceil(per_word);
            let zero = word(&linear.qzeros, group * zeros + output / per_word)
                >> (output % per_word * bits)
                & mask;
            let at = 2 * (group * linear.out_features + output);
            let scale = f16::from_le_bytes(linear.scales[at..at + 2].try_into().unwrap());
            weights.push(scale.to_f32() * (q as f32 - (zero + 1) as f32));
        }
    }
    weights
}

fn quantization(values: Value) -> impl FnOnce(&mut Value) {
    move |config| config["quantization_config"] = values
}

/// Edits every zero point of a linear layer.
fn zeros(tensors: &mut Tensors, stem: &str, bits: usize, edit: impl Fn(u32) -> u32) {
    let (.., bytes) = tensors.get_mut(&format!("{stem}.qzeros")).unwrap();
    for word in bytes.chunks_exact_mut(4) {
        let old = u32::from_le_bytes(word.try_into().unwrap());
        let field = |at: usize| edit(old >> (at * bits) & ((1 << bits) - 1)) << (at * bits);
        word.copy_from_slice(&(0..32 / bits).map(field).sum::<u32>().to_le_bytes());
    }
}

#[test]
fn gptq_v2_stores_zero_points_as_they_are() {
    for (name, bits) in [
        ("mini-int4-act-order", 4),
        ("mini-int8", 8),
        ("mini-int8-act-order", 8),
    ] {
        let largest = (1u32 << bits) - 1;
        for stem in [FC_OUT, "transformer.h.1.attn.qkv_proj"] {
            // Zero points of 2^bits exist only in the `gptq` convention.
            let ours = changed(
                name,
                |all| zeros(all, stem, bits, |zero| zero.min(largest - 1)),
                |_| (),
            );
            let theirs = changed(
                name,
                |all| zeros(all, stem, bits, |zero| zero.min(largest - 1) + 1),
                quantization(
                    json!({"bits": bits, "quant_method": "gptq", "checkpoint_format": "gptq_v2"}),
                ),
            );
            let (ours, theirs) = (
                Checkpoint::open(ours.path()).unwrap(),
                Checkpoint::open(theirs.path()).unwrap(),
            );
            assert_eq!(
                theirs.quantization().unwrap().zero_points,
                ZeroPoints::Plain
            );
            let (ours, theirs) = (gptq(&ours, stem).unwrap(), gptq(&theirs, stem).unwrap());
            assert_eq!(dequantised(&ours), dequantised(&theirs), "{name} {stem}");
        }
    }
}

#[test]
fn a_zero_point_of_zero_in_gptq_v2_reads_as_scale_times_field() {
    for (name, bits) in [("mini-int4-act-order", 4), ("mini-int8", 8)] {
        let plain = changed(name, |all| zeros(all, FC_OUT, bits, |_| 0), |_| ());
        let v2 = changed(
            name,
            |all| zeros(all, FC_OUT, bits, |zero| if zero % 2 == 0 { 0 } else { 1 }),
            quantization(json!({"checkpoint_format": "gptq_v2"})),
        );
        let odd = gptq(&Checkpoint::open(fixture(name)).unwrap(), FC_OUT).unwrap();
        // zero points of one
        let ones = gptq(&Checkpoint::open(plain.path()).unwrap(), FC_OUT).unwrap();
        let found = gptq(&Checkpoint::open(v2.path()).unwrap(), FC_OUT).unwrap();
        let (per_word, mask) = (32 / bits, (1u32 << bits) - 1);
        let (expected, read) = (dequantised(&ones), dequantised(&found));
        let (mut zero_points, mut at) = ([0, 0], 0);
        for input in 0..384 {
            let group = match &odd.groups {
                GroupIndex::Sequential => input / 128,
                GroupIndex::Permuted(groups) => groups[input] as usize,
            };
            for output in 0..128 {
                let word = 4 * (group * (128 / per_word) + output / per_word);
                let word = u32::from_le_bytes(odd.qzeros[word..word + 4].try_into().unwrap());
                let is_zero = (word >> (output % per_word * bits) & mask).is_multiple_of(2);
                zero_points[usize::from(is_zero)] += 1;
                let scale = 2 * (group * 128 + output);
                let scale =
                    f16::from_le_bytes(odd.scales[scale..scale + 2].try_into().unwrap()).to_f32();
                let right = if is_zero {
                    expected[at] + scale
                } else {
                    expected[at]
                };
                let off = (read[at] - right).abs();
                assert!(off <= scale * 1e-4, "{input} {output}: {off}");
                at += 1;
            }
        }
        assert!(
            zero_points.iter().all(|count| *count > 1000),
            "both kinds: {zero_points:?}"
        );
    }
}

#[test]
fn scales_in_bf16_are_accepted_and_those_beyond_f16_are_not() {
    let scales = |values: fn(f32) -> f32| {
        changed(
            "mini-int8",
            move |all| {
                let (dtype, _, bytes) = all.get_mut(&format!("{FC_OUT}.scales")).unwrap();
                let wide = bytes
                    .chunks_exact(2)
                    .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32());
                *bytes = wide
                    .flat_map(|scale| bf16::from_f32(values(scale)).to_le_bytes())
                    .collect();
                *dtype = Dtype::BF16;
            },
            |_| (),
        )
    };
    let folder = scales(|scale| scale);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.warnings(), []);
    let [found, exact] = [
        &checkpoint,
        &Checkpoint::open(fixture("mini-int8")).unwrap(),
    ]
    .map(|checkpoint| dequantised(&gptq(checkpoint, FC_OUT).unwrap()));
    for (found, exact) in found.iter().zip(&exact) {
        assert!(
            (found - exact).abs() <= exact.abs() / 256.0,
            "{found} {exact}"
        );
    }
    let folder = scales(|_| 1e30);
    let error = gptq(&Checkpoint::open(folder.path()).unwrap(), FC_OUT).unwrap_err();
    assert!(
        matches!(error, CheckpointError::NonFinite { at: 0, .. }),
        "{error}"
    );
    for small in [(|_| 1e-12) as fn(f32) -> f32, |_| -2e-8] {
        let error = gptq(&Checkpoint::open(scales(small).path()).unwrap(), FC_OUT).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Underflow { at: 0, value, .. } if value != 0.0),
            "{error}"
        );
    }
    // Zero, and values within the range of f16.
    for held in [(|_| 0.0) as fn(f32) -> f32, |_| 6e-8] {
        gptq(&Checkpoint::open(scales(held).path()).unwrap(), FC_OUT).unwrap();
    }
}

#[test]
fn a_g_idx_that_leaves_groups_unused_is_a_warning() {
    let index = |group: fn(i32) -> i32| {
        move |all: &mut Tensors| {
            for layer in 0..2 {
                let (.., bytes) = all
                    .get_mut(&format!("transformer.h.{layer}.mlp.fc_out.g_idx"))
                    .unwrap();
                *bytes = (0..384)
                    .flat_map(|input| group(input).to_le_bytes())
                    .collect();
            }
        }
    };
    for (group, unused) in [((|_| 0) as fn(i32) -> i32, 2), (|input| input / 192 * 2, 1)] {
        // With `desc_act` false too: many quantisers leave an index of zeros.
        for said in [json!(null), json!({"bits": 8, "desc_act": false})] {
            let folder = changed("mini-int8", index(group), quantization(said));
            let checkpoint = Checkpoint::open(folder.path()).unwrap();
            let expected = Warning::UnusedGroups {
                name: format!("{FC_OUT}.g_idx"),
                unused,
                groups: 3,
                linears: 2,
            };
            assert_eq!(checkpoint.warnings(), [expected]);
            gptq(&checkpoint, FC_OUT).unwrap();
        }
    }
}

fn error(folder: &Path) -> CheckpointError {
    Checkpoint::open(folder).unwrap_err()
}

#[test]
fn both_files_are_read_and_must_not_contradict_each_other_or_the_tensors() {
    let right = json!({"bits": 8, "group_size": 128, "desc_act": false, "sym": false, "checkpoint_format": "gptq"});
    Checkpoint::open(with_quantize_config("mini-int8", right.clone(), &right).path()).unwrap();
    Checkpoint::open(with_quantize_config("mini-int8", json!(null), &right).path()).unwrap();
    for (key, other) in [
        ("bits", json!(4)),
        ("group_size", json!(64)),
        ("desc_act", json!(true)),
        ("sym", json!(true)),
        ("checkpoint_format", json!("gptq_v2")),
    ] {
        let mut wrong = right.clone();
        wrong[key] = other;
        let found = error(with_quantize_config("mini-int8", right.clone(), &wrong).path());
        assert!(
            matches!(&found, CheckpointError::ConfigConflict { key: found_key, .. } if *found_key == key),
            "{found}"
        );
        assert!(
            found.to_string().contains("quantize_config.json"),
            "{found}"
        );
    }
    for (name, key, value) in [
        ("mini-int8", "bits", json!(4)),
        ("mini-int4-act-order", "bits", json!(8)),
        ("mini-int8", "group_size", json!(64)),
        ("mini-int8", "group_size", json!(-1)),
        ("mini-int4-act-order", "desc_act", json!(false)),
        ("mini-fp16-safetensors", "bits", json!(4)),
    ] {
        for [config, file] in [
            [json!({key: value}), json!({})],
            [json!(null), json!({key: value})],
        ] {
            let found = error(with_quantize_config(name, config, &file).path());
            // `groupsize` of config.json contradicts another `group_size` before the tensors do.
            let is_reported = match &found {
                CheckpointError::ConfigMismatch { key: found_key, .. } => *found_key == key,
                CheckpointError::ConfigConflict { second_key, .. } => {
                    key == "group_size" && *second_key == key
                }
                _ => false,
            };
            assert!(is_reported, "{name}: {found}");
        }
    }
}

#[test]
fn methods_and_formats_that_are_not_gptq_are_refused_with_a_hint() {
    for (key, value) in [
        ("quant_method", json!("awq")),
        ("quant_method", json!("bitsandbytes")),
        ("load_in_8bit", json!(true)),
        ("load_in_4bit", json!(true)),
        ("checkpoint_format", json!("marlin")),
        ("format", json!("bitblas")),
        ("is_marlin_format", json!(true)),
    ] {
        let found =
            error(with_quantize_config("mini-int8", json!({key: value}), &json!({})).path());
        let CheckpointError::ConfigValue { key: found_key, .. } = &found else {
            panic!("{found}")
        };
        assert_eq!(*found_key, format!("quantization_config.{key}"));
        assert!(found.hint().unwrap().contains("GPTQ"), "{found}");
    }
    for (key, value) in [
        ("bits", json!("4")),
        ("bits", json!(3)),
        ("group_size", json!(0)),
        ("desc_act", json!(1)),
    ] {
        let found =
            error(with_quantize_config("mini-int8", json!(null), &json!({key: value})).path());
        assert!(
            matches!(&found, CheckpointError::ConfigValue { key: found_key, .. } if found_key == key),
            "{found}"
        );
    }
    for (key, value) in [
        ("load_in_8bit", json!(false)),
        ("quant_method", json!("GPTQ")),
        ("format", json!("gptq")),
    ] {
        Checkpoint::open(with_quantize_config("mini-int8", json!({key: value}), &json!({})).path())
            .unwrap();
    }
}

#[test]
fn an_unquantised_models_defaults_beside_quantization_config_mean_nothing() {
    // MossConfig writes wbits 32 and groupsize 128 by default.
    let folder = changed(
        "mini-int8",
        |_| (),
        |config| {
            (config["wbits"], config["groupsize"]) = (json!(32), json!(64));
            config["quantization_config"] =
                json!({"bits": 8, "group_size": 128, "quant_method": "gptq"});
        },
    );
    assert_eq!(Checkpoint::open(folder.path()).unwrap().warnings(), []);
}

#[test]
fn a_group_size_of_config_json_that_the_tensors_contradict_is_a_warning_or_an_error() {
    let folder = changed(
        "mini-int8",
        |_| (),
        |config| config["groupsize"] = json!(64),
    );
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(
        checkpoint.warnings(),
        [Warning::GroupSize {
            config: 64,
            tensors: 128
        }]
    );
    assert_eq!(
        gptq(&checkpoint, FC_OUT).unwrap().group_size,
        128,
        "the index tells"
    );
    let without_index = |all: &mut Tensors| all.retain(|name, _| !name.ends_with("g_idx"));
    let folder = changed("mini-int8", without_index, |config| {
        config["groupsize"] = json!(64)
    });
    assert!(matches!(
        error(folder.path()),
        CheckpointError::ConfigMismatch {
            key: "groupsize",
            ..
        }
    ));
    let folder = changed(
        "mini-int8",
        without_index,
        quantization(json!({"bits": 8, "desc_act": true})),
    );
    assert!(
        matches!(error(folder.path()), CheckpointError::MissingTensor { .. }),
        "nothing says which group is whose"
    );
}

#[test]
fn symmetric_weights_with_other_zero_points_are_a_warning() {
    let stems: Vec<String> = (0..2)
        .flat_map(|layer| {
            ["attn.qkv_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out"]
                .map(|linear| format!("transformer.h.{layer}.{linear}"))
        })
        .collect();
    let each = |zero: &dyn Fn(&str) -> u32, format: &str| {
        let said = json!({"bits": 8, "sym": true, "checkpoint_format": format});
        let folder = changed(
            "mini-int8",
            |all| {
                for stem in &stems {
                    zeros(all, stem, 8, |_| zero(stem));
                }
            },
            quantization(said),
        );
        Checkpoint::open(folder.path()).unwrap().warnings().to_vec()
    };
    let with = |zero: u32, format: &str| each(&|_| zero, format);
    assert_eq!((with(127, "gptq"), with(128, "gptq_v2")), (vec![], vec![]));
    assert!(matches!(
        with(128, "gptq").as_slice(),
        [Warning::Symmetry {
            expected: 127,
            found: 128,
            ..
        }]
    ));
    // Every layer is checked.
    let zero = |stem: &str| if stem.contains("h.1.mlp") { 128 } else { 127 };
    assert_eq!(
        each(&zero, "gptq"),
        [Warning::Symmetry {
            name: "transformer.h.1.mlp.fc_in.qzeros".into(),
            format: "gptq",
            expected: 127,
            found: 128,
            linears: 2
        }]
    );
    assert!(matches!(
        with(127, "gptq_v2").as_slice(),
        [Warning::Symmetry {
            expected: 128,
            found: 127,
            ..
        }]
    ));
}

#[test]
fn linear_layers_in_several_formats_are_all_reported() {
    let int4 = checkpoint::tensors_of(&fixture("mini-int4-act-order"));
    let dense = checkpoint::tensors_of(&fixture("mini-fp16-safetensors"));
    let folder = changed(
        "mini-int8",
        |all| {
            for (stem, from) in [(FC_OUT, &int4), ("transformer.h.1.mlp.fc_in", &dense)] {
                all.retain(|name, _| !name.starts_with(stem));
                all.extend(
                    from.iter()
                        .filter(|(name, _)| name.starts_with(stem))
                        .map(|(n, t)| (n.clone(), t.clone())),
                );
            }
        },
        |_| (),
    );
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let found: Vec<_> = checkpoint
        .linear_formats()
        .iter()
        .map(|(format, count)| match format {
            LinearFormat::Gptq(found) => (found.bits.bits(), *count),
            LinearFormat::Dense(_) => (16, *count),
        })
        .collect();
    assert_eq!(found[0], (8, 6));
    assert!(
        found.contains(&(4, 1)) && found.contains(&(16, 1)) && found.len() == 3,
        "{found:?}"
    );
    assert_eq!(checkpoint.quantization().unwrap().bits.bits(), 8);
    for name in [
        "mini-int8",
        "mini-int4-act-order",
        "tiny-int4",
        "tiny-fp16-bin",
    ] {
        assert_eq!(
            Checkpoint::open(fixture(name))
                .unwrap()
                .linear_formats()
                .len(),
            1,
            "{name}"
        );
    }
}
