//! Every fixture into the other container and back: the same bytes, the same logits.
#![allow(clippy::unwrap_used)]

mod support;

use std::{cell::Cell, fs, path::Path};

use moss_checkpoint::{Checkpoint, CheckpointError};
use moss_quantize::{Container, ConvertEvent, ConvertOptions, QuantizeError, convert};
use moss_testing::fixture;
use support::{ALL, contents, logits};

fn options(container: Container) -> ConvertOptions {
    ConvertOptions {
        container,
        max_shard_bytes: 300_000,
        replace: false,
    }
}

fn run(source: &Path, target: &Path, container: Container) -> Vec<ConvertEvent> {
    let mut events = Vec::new();
    convert(
        source,
        target,
        options(container),
        &|| false,
        &mut |event| events.push(event),
    )
    .unwrap();
    events
}

fn assert_same_tensors(a: &Path, b: &Path) {
    let (a, b) = (Checkpoint::open(a).unwrap(), Checkpoint::open(b).unwrap());
    assert_eq!(a.tensor_infos().count(), b.tensor_infos().count());
    for info in a.tensor_infos() {
        let (one, other) = (a.tensor(&info.name).unwrap(), b.tensor(&info.name).unwrap());
        assert_eq!(
            (one.dtype, &one.shape),
            (other.dtype, &other.shape),
            "{}",
            info.name
        );
        assert_eq!(one.data, other.data, "{}", info.name);
    }
    assert_eq!(
        (a.config(), a.quantization()),
        (b.config(), b.quantization())
    );
}

#[test]
fn every_fixture_round_trips_through_both_containers_bit_for_bit() {
    for name in ALL {
        let folder = tempfile::tempdir().unwrap();
        let (there, back) = (folder.path().join("there"), folder.path().join("back"));
        run(&fixture(name), &there, Container::Safetensors);
        assert_same_tensors(&fixture(name), &there);
        run(&there, &back, Container::Torch);
        assert_same_tensors(&fixture(name), &back);
        assert_eq!(
            logits(&there),
            logits(&fixture(name)),
            "{name}: logits after conversion"
        );
        assert_eq!(
            logits(&back),
            logits(&fixture(name)),
            "{name}: logits after conversion and back"
        );
        assert!(
            there.join("config.json").exists()
                && !there.join("pytorch_model.bin.index.json").exists()
        );
        assert!(!folder.path().join("there.unfinished").exists());
    }
}

#[test]
fn an_interrupted_conversion_resumes_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, target) = (folder.path().join("whole"), folder.path().join("target"));
    run(&fixture("tiny-fp16-bin"), &whole, Container::Safetensors);
    let expected = contents(&whole);
    let shards = expected
        .iter()
        .filter(|(name, _)| name.ends_with(".safetensors"))
        .count();
    assert!(shards > 3, "{shards}");
    // Each run gets a few pieces further; shards that it did not finish are rewritten.
    let (mut kept, mut runs) = (0, 0);
    loop {
        let left = Cell::new(12);
        let interrupted = || left.replace(left.get() - 1) == 0;
        let mut kept_now = 0;
        let mut progress =
            |event| kept_now += usize::from(matches!(event, ConvertEvent::Kept { .. }));
        let result = convert(
            &fixture("tiny-fp16-bin"),
            &target,
            options(Container::Safetensors),
            &interrupted,
            &mut progress,
        );
        assert!(kept_now >= kept);
        (kept, runs) = (kept_now, runs + 1);
        match result {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, QuantizeError::Interrupted), "{error}"),
        }
        assert!(!target.exists(), "only complete folders are renamed");
        // The state that a killed process leaves within a shard.
        fs::write(
            folder
                .path()
                .join("target.unfinished/model-00099.safetensors"),
            b"half",
        )
        .unwrap();
    }
    assert!(runs > 2 && kept > 0, "{runs} runs, {kept} shards kept");
    assert_eq!(contents(&target), expected);
}

#[test]
fn a_finished_shard_that_was_damaged_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let shards = Cell::new(0);
    let result = convert(
        &fixture("tiny-fp16-bin"),
        &target,
        options(Container::Safetensors),
        &|| shards.get() == 2,
        &mut |event| {
            shards.set(shards.get() + usize::from(matches!(event, ConvertEvent::Verified { .. })))
        },
    );
    assert!(matches!(result, Err(QuantizeError::Interrupted)));
    let unfinished = folder.path().join("target.unfinished");
    let first = contents(&unfinished)
        .into_iter()
        .find(|(name, _)| name.contains("00001"))
        .unwrap();
    let mut bytes = first.1;
    let at = bytes.len() - 9;
    bytes[at] ^= 0x40;
    fs::write(unfinished.join(&first.0), bytes).unwrap();
    let events = run(&fixture("tiny-fp16-bin"), &target, Container::Safetensors);
    let kept = events
        .iter()
        .filter(|event| matches!(event, ConvertEvent::Kept { .. }))
        .count();
    assert_eq!(kept, 1, "the second shard is kept, the first is not");
    assert_same_tensors(&fixture("tiny-fp16-bin"), &target);
}

#[test]
fn existing_folders_are_kept_and_incomplete_ones_are_not_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    fs::create_dir(&target).unwrap();
    run(&fixture("mini-int8"), &target, Container::Safetensors); // an empty folder is free
    let again = convert(
        &fixture("mini-int8"),
        &target,
        options(Container::Torch),
        &|| false,
        &mut |_| {},
    );
    assert!(matches!(again, Err(QuantizeError::Exists { .. })));
    let foreign = folder.path().join("other.unfinished");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("diary.txt"), "mine").unwrap();
    let other = folder.path().join("other");
    let refused = convert(
        &fixture("mini-int8"),
        &other,
        options(Container::Torch),
        &|| false,
        &mut |_| {},
    );
    assert!(matches!(refused, Err(QuantizeError::Exists { .. })));
    assert!(foreign.join("diary.txt").exists());
    let missing = convert(
        &folder.path().join("no"),
        &other,
        options(Container::Torch),
        &|| false,
        &mut |_| {},
    );
    assert!(matches!(
        missing,
        Err(QuantizeError::Checkpoint(CheckpointError::Read { .. }))
    ));
}

#[test]
fn a_folder_that_another_process_writes_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let mut second = None;
    convert(
        &fixture("mini-int8"),
        &target,
        options(Container::Safetensors),
        &|| false,
        &mut |event| {
            if matches!(event, ConvertEvent::Started { .. }) {
                let options = options(Container::Safetensors);
                second = Some(convert(
                    &fixture("mini-int8"),
                    &target,
                    options,
                    &|| false,
                    &mut |_| {},
                ));
            }
        },
    )
    .unwrap();
    assert!(matches!(second, Some(Err(QuantizeError::Busy { .. }))));
}

#[test]
fn a_conversion_that_exceeds_the_disk_is_rejected_before_writing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::create_dir(&source).unwrap();
    fs::copy(
        fixture("mini-fp16-safetensors").join("config.json"),
        source.join("config.json"),
    )
    .unwrap();
    // Four tebibytes of nothing, which take no room themselves.
    let bytes = 1u64 << 42;
    let header =
        format!(r#"{{"a":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut start = (header.len() as u64).to_le_bytes().to_vec();
    start.extend(header.as_bytes());
    let file = fs::File::create(source.join("model.safetensors")).unwrap();
    std::io::Write::write_all(&mut &file, &start).unwrap();
    file.set_len(start.len() as u64 + bytes).unwrap();
    let refused = convert(
        &source,
        &target,
        options(Container::Torch),
        &|| false,
        &mut |_| {},
    );
    assert!(
        matches!(refused, Err(QuantizeError::DiskSpace { needed, .. }) if needed > bytes),
        "{refused:?}"
    );
    assert!(
        !target.exists()
            && !folder
                .path()
                .join("target.unfinished/pytorch_model.bin")
                .exists()
    );
}
