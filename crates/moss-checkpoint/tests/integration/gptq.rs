//! Quantised linear layers in which one tensor is damaged.

use std::fs;

use moss_checkpoint::{Checkpoint, CheckpointError, DtypeRule, Warning};
use moss_testing::{
    checkpoint::{Tensors, write_safetensors},
    fixture,
};
use moss_weights::{GptqBits, GptqWeight, GroupIndex, LinearShape, LinearWeight};
use safetensors::Dtype;

const STEM: &str = "transformer.h.0.attn.qkv_proj";

fn i32s(values: impl IntoIterator<Item = i32>) -> Vec<u8> {
    values.into_iter().flat_map(i32::to_le_bytes).collect()
}

/// Returns a 4-bit linear layer with this many inputs, 16 outputs, groups of 128 and an ordered
/// `g_idx`.
fn quartet(in_features: usize) -> Tensors {
    let groups = in_features.div_ceil(128);
    let mut tensors = Tensors::new();
    let mut put = |name: &str, dtype, shape: &[usize], bytes| {
        tensors.insert(format!("{STEM}.{name}"), (dtype, shape.to_vec(), bytes));
    };
    put(
        "qweight",
        Dtype::I32,
        &[in_features / 8, 16],
        vec![0x77; in_features / 8 * 16 * 4],
    );
    put(
        "qzeros",
        Dtype::I32,
        &[groups, 2],
        vec![0xff; groups * 2 * 4],
    ); // zero point 16, stored as 15
    put(
        "scales",
        Dtype::F16,
        &[groups, 16],
        0x2e66u16.to_le_bytes().repeat(groups * 16),
    );
    put(
        "g_idx",
        Dtype::I32,
        &[in_features],
        i32s((0..in_features as i32).map(|i| i / 128)),
    );
    tensors
}

fn open(tensors: &Tensors, config: &str) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), config).unwrap();
    write_safetensors(&folder.path().join("model.safetensors"), tensors);
    Checkpoint::open(folder.path())
}

fn config(hidden_size: usize, more: &str) -> String {
    format!(
        r#"{{"vocab_size": 9, "n_embd": {hidden_size}, "n_layer": 1, "n_head": 4, "n_ctx": 64, "layer_norm_epsilon": 1e-5{more}}}"#
    )
}

fn shape(in_features: usize, out_features: usize, has_bias: bool) -> LinearShape {
    LinearShape {
        in_features,
        out_features,
        has_bias,
    }
}

fn read(tensors: &Tensors, in_features: usize, more: &str) -> Result<GptqWeight, CheckpointError> {
    let checkpoint = open(tensors, &config(in_features, more))?;
    match checkpoint
        .linear(STEM, shape(in_features, 16, false))?
        .weight
    {
        LinearWeight::Gptq(weight) => Ok(weight),
        LinearWeight::Dense(_) => panic!("dense"),
    }
}

fn damaged(name: &str, damage: impl FnOnce(&mut (Dtype, Vec<usize>, Vec<u8>))) -> CheckpointError {
    let mut tensors = quartet(256);
    damage(tensors.get_mut(&format!("{STEM}.{name}")).unwrap());
    let error = read(&tensors, 256, "").unwrap_err();
    assert!(
        error.to_string().contains(&format!("{STEM}.{name}")),
        "{error}"
    );
    error
}

#[test]
fn groups_in_order_are_sequential_with_and_without_an_index_and_a_configured_size() {
    // 200 and 320 inputs: the last group is not full.
    for in_features in [256, 200, 320] {
        let mut tensors = quartet(in_features);
        for more in [
            r#", "groupsize": 128"#,
            "",
            r#", "groupsize": 7"#,
            r#", "groupsize": -1"#,
        ] {
            let linear = read(&tensors, in_features, more).unwrap();
            assert_eq!(
                (linear.bits, linear.group_size),
                (GptqBits::Four, 128),
                "{in_features}{more}"
            );
            assert_eq!(linear.groups, GroupIndex::Sequential);
        }
        tensors.remove(&format!("{STEM}.g_idx"));
        assert_eq!(
            read(&tensors, in_features, "").unwrap().groups,
            GroupIndex::Sequential
        );
    }
}

#[test]
fn group_sizes_that_do_not_divide_the_inputs_come_from_the_index_or_are_refused() {
    // 200 inputs in two groups: of 128 and 72 by default, or of 104 and 96 by the index.
    let mut tensors = quartet(200);
    let index = |size: i32| (Dtype::I32, vec![200], i32s((0..200).map(|i| i / size)));
    tensors.insert(format!("{STEM}.g_idx"), index(104));
    for more in [
        "",
        r#", "groupsize": 128"#,
        r#", "quantization_config": {"group_size": 104}"#,
    ] {
        let linear = read(&tensors, 200, more).unwrap();
        assert_eq!(
            (linear.group_size, linear.groups),
            (104, GroupIndex::Sequential),
            "{more}"
        );
    }
    let error = read(
        &tensors,
        200,
        r#", "quantization_config": {"group_size": 128}"#,
    )
    .unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::ConfigMismatch {
                key: "group_size",
                ..
            }
        ),
        "{error}"
    );
    // Groups of 100 begin in the middle of a word.
    tensors.insert(format!("{STEM}.g_idx"), index(100));
    let error = read(&tensors, 200, "").unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::GroupAlignment {
                group_size: 100,
                multiple: 8,
                ..
            }
        ),
        "{error}"
    );
    tensors.remove(&format!("{STEM}.g_idx"));
    for more in [
        r#", "quantization_config": {"group_size": 64}"#,
        r#", "groupsize": 64"#,
    ] {
        assert!(
            matches!(
                read(&tensors, 200, more),
                Err(CheckpointError::ConfigMismatch { .. })
            ),
            "{more}"
        );
    }
    let linear = read(
        &tensors,
        200,
        r#", "quantization_config": {"group_size": 104}"#,
    )
    .unwrap();
    assert_eq!(linear.group_size, 104);
}

/// 512 inputs in two groups without an index: sizes from 256 to 504 fit.
fn two_groups() -> Tensors {
    let mut tensors = quartet(512);
    tensors.remove(&format!("{STEM}.g_idx"));
    for (name, row) in [("qzeros", 8), ("scales", 32)] {
        let (_, shape, bytes) = tensors.get_mut(&format!("{STEM}.{name}")).unwrap();
        (shape[0], *bytes) = (2, bytes[..2 * row].to_vec());
    }
    tensors
}

#[test]
fn a_group_size_that_nothing_states_is_not_guessed() {
    let mut tensors = two_groups();
    for more in [
        "",
        r#", "wbits": 4"#,
        r#", "quantization_config": {"bits": 4}"#,
    ] {
        let error = read(&tensors, 512, more).unwrap_err();
        assert!(
            matches!(
                error,
                CheckpointError::GroupSizeUnstated {
                    groups: 2,
                    first: 256,
                    second: 264,
                    ..
                }
            ),
            "{more}: {error}"
        );
        assert!(error.hint().unwrap().contains("groupsize"), "{error}");
    }
    // `groupsize` counts for packed weights whatever `wbits` says.
    for wbits in ["4", "8", "16", "32", "null"] {
        let more = format!(r#", "groupsize": 320, "wbits": {wbits}"#);
        let linear = read(&tensors, 512, &more).unwrap();
        assert_eq!(
            (linear.group_size, linear.groups),
            (320, GroupIndex::Sequential)
        );
        let more = format!(r#", "groupsize": 128, "wbits": {wbits}"#);
        let error = read(&tensors, 512, &more).unwrap_err();
        let is_reported =
            matches!(&error, CheckpointError::ConfigMismatch { key, .. } if *key == "groupsize");
        assert!(is_reported, "{error}");
    }
    // 16 inputs in two groups: only 8 fits. Two groups of 200 inputs: the published 128 fits.
    tensors = quartet(200);
    tensors.remove(&format!("{STEM}.g_idx"));
    let checkpoint = open(&tensors, &config(200, "")).unwrap();
    assert_eq!(
        checkpoint.warnings(),
        [Warning::GroupSizeAssumed {
            name: format!("{STEM}.scales"),
            size: 128,
            linears: 1
        }]
    );
    let mut small = quartet(200);
    small.insert(
        format!("{STEM}.qweight"),
        (Dtype::I32, vec![2, 16], vec![0; 128]),
    );
    small.remove(&format!("{STEM}.g_idx"));
    let checkpoint = open(&small, &config(16, "")).unwrap();
    assert_eq!(checkpoint.warnings(), []);
    assert_eq!(checkpoint.quantization().unwrap().group_size, 8);
}

#[test]
fn a_groupsize_of_config_json_that_contradicts_todays_keys_is_refused() {
    let tensors = two_groups();
    let both = |groupsize: i64, wbits: i64| {
        let more = format!(
            r#", "groupsize": {groupsize}, "wbits": {wbits}, "quantization_config": {{"group_size": 320}}"#
        );
        read(&tensors, 512, &more).map(|linear| linear.group_size)
    };
    for groupsize in [256, -1, 0, 312] {
        let error = both(groupsize, 4).unwrap_err();
        let CheckpointError::ConfigConflict {
            key: "groupsize",
            second_key: "group_size",
            first_value,
            second_value,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (first_value.as_str(), second_value.as_str()),
            (groupsize.to_string().as_str(), "320")
        );
        // The upstream default for an unquantised model.
        assert_eq!(both(groupsize, 32).unwrap(), 320);
    }
    assert_eq!(both(320, 4).unwrap(), 320);
}

#[test]
fn an_act_order_layer_has_the_size_of_its_full_groups() {
    let mut tensors = two_groups();
    for (size, groups) in [(320, 2), (256, 2)] {
        let index = (0..512).map(|input| input * 7 % 512 / size);
        tensors.insert(
            format!("{STEM}.g_idx"),
            (Dtype::I32, vec![512], i32s(index)),
        );
        let linear = read(&tensors, 512, "").unwrap();
        assert_eq!(linear.group_size, size as usize, "{groups}");
        assert!(matches!(linear.groups, GroupIndex::Permuted(_)));
    }
    // Three groups of 192, 192 and 128: their mean is 171, which is not a multiple of a word.
    let mut tensors = quartet(512);
    for (name, row) in [("qzeros", 8), ("scales", 32)] {
        let (_, shape, bytes) = tensors.get_mut(&format!("{STEM}.{name}")).unwrap();
        (shape[0], *bytes) = (3, bytes[..3 * row].to_vec());
    }
    let index = (0..512).map(|input| input * 7 % 512 / 192);
    tensors.insert(
        format!("{STEM}.g_idx"),
        (Dtype::I32, vec![512], i32s(index)),
    );
    assert_eq!(read(&tensors, 512, "").unwrap().group_size, 192);
}

#[test]
fn one_group_for_all_inputs_is_not_act_order() {
    let mut tensors = quartet(256);
    let rows = |name: &str| format!("{STEM}.{name}");
    tensors.insert(rows("qzeros"), (Dtype::I32, vec![1, 2], vec![0; 8]));
    tensors.insert(rows("scales"), (Dtype::F16, vec![1, 16], vec![0; 32]));
    tensors.insert(rows("g_idx"), (Dtype::I32, vec![256], vec![0; 1024]));
    let checkpoint = open(&tensors, &config(256, r#", "groupsize": -1"#)).unwrap();
    let found = checkpoint.quantization().unwrap();
    assert_eq!((found.group_size, found.act_order), (256, false));
}

#[test]
fn a_permuted_index_is_kept_and_read_from_64_bit_integers_too() {
    let permuted: Vec<i32> = (0..256).map(|i| i % 2).collect();
    let mut tensors = quartet(256);
    let wide = permuted
        .iter()
        .flat_map(|group| i64::from(*group).to_le_bytes())
        .collect();
    for (dtype, bytes) in [(Dtype::I32, i32s(permuted.clone())), (Dtype::I64, wide)] {
        tensors.insert(format!("{STEM}.g_idx"), (dtype, vec![256], bytes));
        let expected = permuted.iter().map(|group| *group as u32).collect();
        assert_eq!(
            read(&tensors, 256, "").unwrap().groups,
            GroupIndex::Permuted(expected)
        );
    }
}

#[test]
fn every_damaged_tensor_of_a_quartet_is_named_with_what_is_wrong() {
    let error = damaged("g_idx", |(.., bytes)| {
        bytes[40..44].copy_from_slice(&2i32.to_le_bytes())
    });
    assert!(
        matches!(
            error,
            CheckpointError::Group {
                at: 10,
                found: 2,
                last: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = damaged("g_idx", |(.., bytes)| {
        bytes[0..4].copy_from_slice(&(-1i32).to_le_bytes())
    });
    assert!(
        matches!(
            error,
            CheckpointError::Group {
                at: 0,
                found: -1,
                ..
            }
        ),
        "{error}"
    );
    let error = damaged("g_idx", |(_, shape, _)| *shape = vec![16, 16]);
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error}");
    let error = damaged("scales", |(.., bytes)| {
        bytes[6..8].copy_from_slice(&0x7e00u16.to_le_bytes())
    });
    assert!(
        matches!(error, CheckpointError::NonFinite { at: 3, .. }),
        "{error}"
    );
    let error = damaged("scales", |(dtype, ..)| *dtype = Dtype::I16);
    assert!(
        matches!(
            error,
            CheckpointError::Dtype {
                expected: DtypeRule::Float,
                ..
            }
        ),
        "{error}"
    );
    let error = damaged("scales", |(_, shape, _)| *shape = vec![32]);
    assert!(
        matches!(
            error,
            CheckpointError::GroupSize { .. } | CheckpointError::Shape { .. }
        ),
        "{error}"
    );
    let error = damaged("qzeros", |(_, shape, _)| *shape = vec![1, 4]);
    assert!(matches!(error, CheckpointError::Shape { .. }), "{error}");
    let error = damaged("qzeros", |(dtype, ..)| *dtype = Dtype::F32);
    assert!(
        matches!(
            error,
            CheckpointError::Dtype {
                expected: DtypeRule::I32,
                ..
            }
        ),
        "{error}"
    );
    let error = damaged("qweight", |(_, shape, _)| *shape = vec![16, 32]);
    assert!(
        matches!(
            error,
            CheckpointError::BitWidth {
                rows: 16,
                in_features: 256,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn each_tensor_of_a_quartet_but_the_index_is_needed() {
    for name in ["qzeros", "scales"] {
        let mut tensors = quartet(256);
        tensors.remove(&format!("{STEM}.{name}"));
        let error = read(&tensors, 256, "").unwrap_err();
        assert!(
            matches!(&error, CheckpointError::MissingTensor { name: found, .. } if found.ends_with(name))
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn sizes_of_zero_are_an_error_and_not_a_division() {
    let mut tensors = quartet(256);
    tensors.insert(format!("{STEM}.qweight"), (Dtype::I32, vec![0, 16], vec![]));
    let error = open(&tensors, &config(0, "")).unwrap_err();
    assert!(
        matches!(error, CheckpointError::GroupSize { in_features: 0, .. }),
        "{error}"
    );
}

#[test]
fn types_that_no_checkpoint_has_are_named_and_unknown_tensors_are_a_warning() {
    let mut tensors = quartet(256);
    tensors.insert("额外.🙂".into(), (Dtype::F32, vec![1], vec![0; 4]));
    let checkpoint = open(&tensors, &config(256, "")).unwrap();
    let expected = Warning::UnknownTensors {
        count: 1,
        first: "额外.🙂".into(),
    };
    assert_eq!(checkpoint.warnings(), [expected]);
    tensors.insert("lm_head.weight".into(), (Dtype::F8_E4M3, vec![1], vec![0]));
    let error = open(&tensors, &config(256, "")).unwrap_err();
    let CheckpointError::UnsupportedDtype { name, found, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (name.as_str(), found.as_str()),
        ("lm_head.weight", "F8_E4M3")
    );
}

#[test]
fn a_bias_is_read_where_it_is_asked_for() {
    let checkpoint = Checkpoint::open(fixture("mini-int8")).unwrap();
    let shape = shape(128, 384, true);
    let linear = checkpoint
        .linear("transformer.h.0.mlp.fc_in", shape)
        .unwrap();
    assert_eq!(linear.bias.unwrap().len(), 384);
    let error = checkpoint.linear(STEM, shape).unwrap_err();
    assert!(
        matches!(error, CheckpointError::MissingTensor { .. }),
        "{error}"
    );
}
