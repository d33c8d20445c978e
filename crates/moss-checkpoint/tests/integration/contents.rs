//! Every tensor is used, is a mask, or is reported; sizes of config.json and of the tensors agree.

use std::fs;

use moss_checkpoint::{Checkpoint, CheckpointError, Evidence, Warning};
use moss_testing::{
    checkpoint::{Tensors, changed},
    copy_fixture, fixture,
};
use moss_weights::{LinearShape, LinearWeight};
use safetensors::Dtype;
use serde_json::{Value, json};

const F16_ONE: [u8; 2] = [0x00, 0x3c];

fn unused(tensors: impl FnOnce(&mut Tensors)) -> Option<(usize, String)> {
    let folder = changed("mini-fp16-safetensors", tensors, |_| ());
    Checkpoint::open(folder.path())
        .unwrap()
        .warnings()
        .iter()
        .find_map(|warning| match warning {
            Warning::UnknownTensors { count, first } => Some((*count, first.clone())),
            _ => None,
        })
}

fn shape(in_features: usize, out_features: usize, has_bias: bool) -> LinearShape {
    LinearShape {
        in_features,
        out_features,
        has_bias,
    }
}

#[test]
fn tensors_that_the_network_has_no_use_for_are_reported() {
    let vector = || (Dtype::F16, vec![4], F16_ONE.repeat(4));
    for name in [
        "transformer.h.01.ln_1.weight",
        "transformer.h.0.ln_2.weight",
        "transformer.h.0.attn.qkv_proj.scales",
        "transformer.h.1.mlp.fc_in.g_idx",
        "transformer.h.0.attn.qkv_proj.lora_A.weight",
        "transformer.h.0.attn.causal_mask", // without the shape of a mask
        "transformer.wpe.weight",
        "lm_head.scales",
        "model.wte.weight",
    ] {
        let found = unused(|tensors| drop(tensors.insert(name.into(), vector())));
        assert_eq!(found, Some((1, name.to_owned())));
    }
}

#[test]
fn a_matrix_beside_its_packed_form_is_reported() {
    let folder = changed(
        "mini-int8",
        |tensors| {
            let matrix = (Dtype::F16, vec![384, 128], F16_ONE.repeat(384 * 128));
            tensors.insert("transformer.h.0.attn.qkv_proj.weight".into(), matrix);
        },
        |_| (),
    );
    let warnings = Checkpoint::open(folder.path()).unwrap().warnings().to_vec();
    assert!(
        matches!(warnings.as_slice(), [Warning::UnknownTensors { count: 1, first }] if first.ends_with("weight")),
        "{warnings:?}"
    );
}

#[test]
fn a_head_beside_its_packed_form_is_reported_and_the_packed_form_is_used() {
    let folder = changed(
        "mini-fp16-safetensors",
        |tensors| {
            let (qweight, qzeros, scales) = ([16, 320], [1, 40], [1, 320]);
            let mut put = |kind: &str, dtype, shape: &[usize], bytes: usize| {
                let bytes = vec![0x11; bytes * shape.iter().product::<usize>()];
                tensors.insert(format!("lm_head.{kind}"), (dtype, shape.to_vec(), bytes));
            };
            put("qweight", Dtype::I32, &qweight, 4);
            put("qzeros", Dtype::I32, &qzeros, 4);
            put("scales", Dtype::F16, &scales, 2);
        },
        |_| (),
    );
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(
        checkpoint.warnings(),
        [Warning::UnknownTensors {
            count: 1,
            first: "lm_head.weight".into()
        }]
    );
    let head = checkpoint.linear("lm_head", shape(128, 320, true)).unwrap();
    assert!(matches!(head.weight, LinearWeight::Gptq(_)));
    let formats: Vec<_> = checkpoint
        .linear_formats()
        .iter()
        .map(|(_, n)| *n)
        .collect();
    assert_eq!(formats, [8, 1], "a packed head counts as a format");
}

#[test]
fn a_head_without_the_bias_of_published_checkpoints_is_reported() {
    let without = |name, kind| {
        let folder = changed(name, |all| drop(all.remove(kind)), |_| ());
        Checkpoint::open(folder.path()).unwrap().warnings().to_vec()
    };
    for name in ["mini-fp16-safetensors", "mini-int8"] {
        assert_eq!(without(name, "lm_head.bias"), [Warning::NoHeadBias]);
    }
    assert_eq!(without("tied-bias", "lm_head.bias"), [], "a tied head");
}

#[test]
fn masks_are_not_reported() {
    let found = unused(|tensors| {
        for layer in 0..3 {
            let mut put = |name: &str, shape: &[usize]| {
                let bytes = vec![1; shape.iter().product()];
                tensors.insert(
                    format!("transformer.h.{layer}.attn.{name}"),
                    (Dtype::U8, shape.to_vec(), bytes),
                );
            };
            put("causal_mask", &[1, 1, 256, 256]);
            put("bias", &[1, 1, 256, 256]);
            put("masked_bias", &[]);
        }
    });
    assert_eq!(found, None, "including masks of a missing layer");
}

#[test]
fn layers_beyond_n_layer_and_missing_layers_are_errors() {
    for (said, stored) in [(1u64, "2"), (3, "2"), (0, "2"), (1 << 31, "2")] {
        let folder = changed(
            "mini-fp16-safetensors",
            |_| (),
            |config| config["n_layer"] = json!(said),
        );
        let error = Checkpoint::open(folder.path()).unwrap_err();
        let CheckpointError::ConfigMismatch {
            key: "n_layer",
            tensors,
            name,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert!(
            *tensors == Evidence::Value(stored.into()) && name.starts_with("transformer.h.1."),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn biases_of_attention_must_be_zero() {
    let open = |stem: &str, value: [u8; 2]| {
        let (stem, outputs) = (
            format!("transformer.h.1.attn.{stem}"),
            if stem == "qkv_proj" { 384 } else { 128 },
        );
        let bias = (
            Dtype::F16,
            vec![outputs],
            [[0, 0].repeat(outputs - 1), value.to_vec()].concat(),
        );
        let folder = changed(
            "mini-int8",
            |tensors| drop(tensors.insert(format!("{stem}.bias"), bias)),
            |_| (),
        );
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.warnings(), []);
        checkpoint
            .linear(&stem, shape(128, outputs, false))
            .map(drop)
    };
    for stem in ["qkv_proj", "out_proj"] {
        open(stem, [0, 0]).unwrap();
        open(stem, [0, 0x80]).unwrap(); // minus zero
        for value in [F16_ONE, [1, 0], [0, 0x7e]] {
            let error = open(stem, value).unwrap_err();
            assert!(
                matches!(error, CheckpointError::UnexpectedBias { .. }),
                "{error}"
            );
        }
    }
}

#[test]
fn a_separate_head_next_to_a_tied_embedding_is_reported() {
    let folder = changed(
        "mini-fp16-safetensors",
        |_| (),
        |config| config["tie_word_embeddings"] = json!(true),
    );
    assert!(
        Checkpoint::open(folder.path())
            .unwrap()
            .warnings()
            .contains(&Warning::OwnHead)
    );
    let tied = Checkpoint::open(fixture("tied-bias")).unwrap();
    assert_eq!(tied.warnings(), []);
}

#[test]
fn sizes_that_the_tensors_contradict_are_errors_on_opening() {
    for (key, found) in [("vocab_size", "320"), ("n_embd", "128"), ("n_inner", "384")] {
        for value in [
            json!(1),
            json!(129),
            json!(1u64 << 31),
            json!(1u64 << 63),
            json!(u64::MAX),
        ] {
            let folder = copy_fixture("mini-fp16-safetensors");
            edit(&folder, key, value.clone());
            let error = Checkpoint::open(folder.path()).unwrap_err();
            let CheckpointError::ConfigMismatch {
                key: found_key,
                tensors,
                ..
            } = &error
            else {
                panic!("{error}")
            };
            assert!(
                (*found_key == key && *tensors == Evidence::Value(found.into()))
                    || *found_key == "n_inner",
                "{value}: {error}"
            );
        }
    }
    let folder = copy_fixture("tiny-fp16-bin"); // with masks of 256 positions
    edit(&folder, "n_positions", json!(257));
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::ConfigMismatch {
                key: "n_positions",
                ..
            }
        ),
        "{error}"
    );
    edit(&folder, "n_positions", json!(128));
    Checkpoint::open(folder.path()).unwrap();
}

fn edit(folder: &tempfile::TempDir, key: &str, value: Value) {
    let file = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config[key] = value;
    fs::write(&file, config.to_string()).unwrap();
}

#[test]
fn values_of_another_kind_are_errors_that_name_the_key() {
    let sizes = [
        "vocab_size",
        "n_embd",
        "n_layer",
        "n_head",
        "n_inner",
        "n_positions",
        "n_ctx",
        "rotary_dim",
    ];
    let wrong = [
        json!(-1),
        json!(1.5),
        json!(1e30),
        json!("128"),
        json!([]),
        json!({}),
        json!(true),
    ];
    for key in sizes
        .into_iter()
        .chain(["eos_token_id", "wbits", "groupsize"])
    {
        for value in &wrong {
            if ["wbits", "groupsize"].contains(&key) && *value == json!(-1) {
                continue;
            }
            let folder = copy_fixture("mini-int8");
            edit(&folder, key, value.clone());
            let error = Checkpoint::open(folder.path()).unwrap_err();
            assert!(
                matches!(&error, CheckpointError::ConfigValue { key: found_key, .. } if found_key == key),
                "{key} {value}: {error}"
            );
            assert!(error.to_string().contains(&value.to_string()), "{error}");
        }
    }
    for (key, value) in [
        ("n_embd", json!(null)),
        ("n_layer", json!(null)),
        ("n_head", json!(null)),
        ("vocab_size", json!(null)),
        ("layer_norm_epsilon", json!("1e-5")),
        ("tie_word_embeddings", json!("no")),
        ("activation_function", json!(7)),
        ("quantization_config", json!("gptq")),
    ] {
        let folder = copy_fixture("mini-int8");
        edit(&folder, key, value);
        let error = Checkpoint::open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::ConfigValue { key: found_key, .. } if found_key == key),
            "{error}"
        );
    }
    for key in [
        "n_inner",
        "rotary_dim",
        "tie_word_embeddings",
        "quantization_config",
        "n_ctx",
        "wbits",
    ] {
        let folder = copy_fixture("tiny-int4"); // whose n_inner is null
        edit(&folder, key, Value::Null);
        Checkpoint::open(folder.path()).unwrap();
    }
}
