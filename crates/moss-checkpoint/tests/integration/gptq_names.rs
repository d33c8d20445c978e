//! Keys of GPTQ settings that have several names, or occur in several files.

use std::path::Path;

use moss_checkpoint::{Checkpoint, CheckpointError, ZeroPoints};
use moss_testing::checkpoint::{changed, with_quantize_config};
use serde_json::{Value, json};

fn error(folder: &Path) -> CheckpointError {
    Checkpoint::open(folder).unwrap_err()
}

#[test]
fn names_of_one_file_that_mean_the_same_must_not_contradict_each_other() {
    for (config, first, second) in [
        (json!({"bits": 8, "wbits": 4}), "bits", "wbits"),
        (
            json!({"group_size": 128, "groupsize": 64}),
            "group_size",
            "groupsize",
        ),
        (
            json!({"checkpoint_format": "gptq", "format": "gptq_v2"}),
            "checkpoint_format",
            "format",
        ),
        (
            json!({"checkpoint_format": "gptq_v2", "format": "gptq"}),
            "checkpoint_format",
            "format",
        ),
        (
            json!({"format": "gptq", "meta": {"checkpoint_format": "gptq_v2"}}),
            "checkpoint_format",
            "meta.checkpoint_format",
        ),
    ] {
        for [config, file] in [[&config, &json!({})], [&json!(null), &config]] {
            let found = error(with_quantize_config("mini-int8", config.clone(), file).path());
            assert!(
                matches!(&found, CheckpointError::ConfigConflict { key, second_key, .. }
                    if (*key, *second_key) == (first, second)),
                "{found}"
            );
            assert!(found.to_string().contains(second) && found.hint().is_some());
        }
    }
    let same = json!({"bits": 8, "wbits": 8, "group_size": 128, "groupsize": 128,
        "checkpoint_format": "gptq", "format": "gptq", "meta": {"checkpoint_format": "gptq"}});
    Checkpoint::open(with_quantize_config("mini-int8", json!(null), &same).path()).unwrap();
    let awq = json!({"quant_method": "gptq", "method": "awq"});
    assert!(matches!(
        error(with_quantize_config("mini-int8", awq, &json!({})).path()),
        CheckpointError::ConfigValue { .. }
    ));
}

#[test]
fn gptq_v2_is_read_beside_the_networks_sizes_and_in_meta() {
    let zero_points = |edit: fn(&mut Value)| {
        let folder = changed("mini-int8", |_| (), edit);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.quantization().unwrap().zero_points
    };
    assert_eq!(zero_points(|_| ()), ZeroPoints::LessOne);
    let edits: [fn(&mut Value); 3] = [
        |config| config["checkpoint_format"] = json!("gptq_v2"),
        |config| config["quantization_config"] = json!({"meta": {"checkpoint_format": "gptq_v2"}}),
        |config| config["quantization_config"] = json!({"format": "GPTQ_V2"}),
    ];
    for edit in edits {
        assert_eq!(zero_points(edit), ZeroPoints::Plain);
    }
    let folder = changed(
        "mini-int8",
        |_| (),
        |config| {
            config["checkpoint_format"] = json!("gptq_v2");
            config["quantization_config"] = json!({"checkpoint_format": "gptq"});
        },
    );
    assert!(matches!(
        error(folder.path()),
        CheckpointError::ConfigConflict { .. }
    ));
}
