//! The choice among several sets of weight files in a folder, and warnings about the others.

use std::{fs, path::Path};

use moss_checkpoint::{Checkpoint, CheckpointError, Warning};
use moss_testing::{
    checkpoint::{self},
    copy_fixture, fixture,
};

/// Creates a folder with these files of fixtures, under new names.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in files {
        fs::copy(fixture(from), folder.path().join(to)).unwrap();
    }
    folder
}

fn in_use(checkpoint: &Checkpoint) -> Vec<String> {
    checkpoint
        .weight_files()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn open(folder: &Path) -> (Vec<String>, Vec<Warning>) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    (in_use(&checkpoint), checkpoint.warnings().to_vec())
}

const CONFIG: (&str, &str) = ("tiny-fp16-bin/config.json", "config.json");
const SAFE: [(&str, &str); 3] = [
    (
        "tiny-fp16-safetensors/model-00001-of-00002.safetensors",
        "model-00001-of-00002.safetensors",
    ),
    (
        "tiny-fp16-safetensors/model-00002-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ),
    (
        "tiny-fp16-safetensors/model.safetensors.index.json",
        "model.safetensors.index.json",
    ),
];
const BIN: [(&str, &str); 4] = [
    (
        "tiny-fp16-bin/pytorch_model-00001-of-00003.bin",
        "pytorch_model-00001-of-00003.bin",
    ),
    (
        "tiny-fp16-bin/pytorch_model-00002-of-00003.bin",
        "pytorch_model-00002-of-00003.bin",
    ),
    (
        "tiny-fp16-bin/pytorch_model-00003-of-00003.bin",
        "pytorch_model-00003-of-00003.bin",
    ),
    (
        "tiny-fp16-bin/pytorch_model.bin.index.json",
        "pytorch_model.bin.index.json",
    ),
];

#[test]
fn one_safetensors_file_goes_before_an_index_beside_it() {
    let (files, warnings) = open(&fixture("stale-index"));
    assert_eq!(files, ["model.safetensors"]);
    let [Warning::SeveralSets { used, ignored }] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert_eq!(
        (used.as_str(), ignored.len()),
        ("model.safetensors", 4),
        "three shards and their index"
    );
}

#[test]
fn weight_files_are_taken_in_the_order_of_transformers() {
    // Starts with all four sets; the first is removed in each round.
    let all = [&[CONFIG][..], &SAFE, &BIN].concat();
    let folder = folder(&all);
    let single = ["model.safetensors", "pytorch_model.bin"];
    let one = checkpoint::tensors_of(&fixture("tiny-fp16-bin"));
    checkpoint::write_safetensors(&folder.path().join(single[0]), &one);
    fs::copy(
        fixture("tiny-int4/pytorch_model.bin"),
        folder.path().join(single[1]),
    )
    .unwrap();
    let remove = |names: &[&str]| {
        names
            .iter()
            .for_each(|name| fs::remove_file(folder.path().join(name)).unwrap());
    };
    let used = |expected: &str| {
        let (files, warnings) = open(folder.path());
        let is_reported = |warning: &Warning| matches!(warning, Warning::SeveralSets { used, .. } if used == expected);
        assert!(warnings.iter().any(is_reported), "{warnings:?}");
        files
    };
    assert_eq!(used("model.safetensors"), ["model.safetensors"]);
    remove(&["model.safetensors"]);
    assert_eq!(used("model.safetensors.index.json"), [SAFE[0].1, SAFE[1].1]);
    remove(&[SAFE[0].1, SAFE[1].1, SAFE[2].1]);
    assert_eq!(used("pytorch_model.bin"), ["pytorch_model.bin"]);
    remove(&["pytorch_model.bin"]);
    let (files, warnings) = open(folder.path());
    assert_eq!(
        (files.len(), warnings),
        (3, vec![]),
        "a single set gives no warning"
    );
}

#[test]
fn a_stale_index_beside_the_file_in_use_is_reported_and_not_followed() {
    let folder = copy_fixture("mini-int8");
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let (files, warnings) = open(folder.path());
    assert_eq!(files, ["pytorch_model.bin"]);
    let [
        Warning::StaleIndex {
            index,
            missing: 2,
            used,
        },
    ] = warnings.as_slice()
    else {
        panic!("{warnings:?}")
    };
    assert!(index.ends_with("pytorch_model.bin.index.json") && used == "pytorch_model.bin");
}

#[test]
fn an_index_without_its_shards_is_stale_beside_another_complete_set() {
    // Another container's file; another container's shards; the same container with other shards,
    // without an index.
    let single = [
        ("mini-int8/config.json", "config.json"),
        SAFE[2],
        ("mini-int8/pytorch_model.bin", "pytorch_model.bin"),
    ];
    let renamed = [
        CONFIG,
        (BIN[0].0, "pytorch_model-00001-of-00003.bin"),
        (BIN[1].0, "pytorch_model-00002-of-00003.bin"),
        (BIN[2].0, "pytorch_model-00003-of-00003.bin"),
    ];
    let stale_bin = r#"{"weight_map": {"a": "pytorch_model-00001-of-00004.bin"}}"#;
    for (files, index, complete) in [
        (&single[..], None, "pytorch_model.bin"),
        (&[&[CONFIG, SAFE[2]][..], &BIN].concat(), None, BIN[0].1),
        (&renamed, Some(stale_bin), BIN[0].1),
    ] {
        let folder = folder(files);
        if let Some(index) = index {
            fs::write(folder.path().join("pytorch_model.bin.index.json"), index).unwrap();
        }
        let error = Checkpoint::open(folder.path()).unwrap_err();
        let CheckpointError::StaleIndex {
            complete: found, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(found, complete);
        let hint = error.hint().unwrap();
        assert!(hint.contains("delete") && hint.contains(complete), "{hint}");
        fs::remove_file(
            folder
                .path()
                .join(if index.is_some() { BIN[3].1 } else { SAFE[2].1 }),
        )
        .unwrap();
        Checkpoint::open(folder.path()).unwrap();
    }
}

#[test]
fn an_index_without_its_shards_and_nothing_else_still_asks_for_the_shard() {
    let folder = folder(&[CONFIG, SAFE[0], SAFE[2], BIN[0], BIN[1]]);
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, CheckpointError::MissingShard { shard, .. } if shard.contains("00002")),
        "{error}"
    );
}

#[test]
fn weights_that_an_index_does_not_name_are_reported() {
    let folder = folder(
        &[
            &[CONFIG, (SAFE[0].0, "model-00003-of-00003.safetensors")][..],
            &SAFE,
        ]
        .concat(),
    );
    let (files, warnings) = open(folder.path());
    assert_eq!(files.len(), 2);
    assert!(
        matches!(warnings.as_slice(), [Warning::SeveralSets { ignored, .. }] if ignored.len() == 1)
    );
}
