//! Damaged, hostile and misnamed files: each is a typed error that names the file, never a panic.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use moss_checkpoint::{
    Checkpoint, CheckpointError, EntryFault, FileRole, Lookalike, PickleError, fuzzing,
};
use moss_files::FileKind;
use moss_testing::{checkpoint::torch_folder, copy_fixture, fixture};
use moss_weights::LinearShape;
use proptest::prelude::*;

fn open_error(folder: &Path) -> CheckpointError {
    let error = Checkpoint::open(folder).unwrap_err();
    assert!(!error.to_string().is_empty());
    let _ = error.hint();
    error
}

fn edit_config(folder: &Path, from: &str, to: &str) {
    let file = folder.join("config.json");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from));
    fs::write(file, text.replace(from, to)).unwrap();
}

fn shape(in_features: usize, out_features: usize, has_bias: bool) -> LinearShape {
    LinearShape {
        in_features,
        out_features,
        has_bias,
    }
}

#[test]
fn a_config_that_cannot_be_read_is_named_with_its_key() {
    let folder = copy_fixture("mini-int8");
    edit_config(folder.path(), "\"n_embd\": 128", "\"n_embd\": \"wide\"");
    let error = open_error(folder.path());
    assert!(
        matches!(&error, CheckpointError::ConfigValue { key, .. } if key == "n_embd"),
        "{error}"
    );
    edit_config(folder.path(), "\"n_embd\": \"wide\"", "\"nembd\": 128");
    let error = open_error(folder.path()).to_string();
    assert!(
        error.contains("n_embd") && error.contains("missing"),
        "{error}"
    );
    edit_config(folder.path(), "\"nembd\": 128", "\"n_embd\": NaN");
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::Json {
            what: FileRole::Config,
            ..
        }
    ));
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::Read { .. }
    ));
}

#[test]
fn folders_without_weights_say_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::NoWeights { .. }
    ));
    fs::write(folder.path().join("README.md"), "x").unwrap();
    assert!(open_error(folder.path()).to_string().contains("README.md"));
    assert!(matches!(
        open_error(&folder.path().join("README.md")),
        CheckpointError::WrongKind {
            found: FileKind::File,
            ..
        }
    ));
    assert!(matches!(
        open_error(&folder.path().join("nothing")),
        CheckpointError::Read { .. }
    ));
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for name in [
        "mini-int4-act-order/pytorch_model.bin",
        "mini-fp16-safetensors/model.safetensors",
    ] {
        let (folder_name, file) = name.split_once('/').unwrap();
        let whole = fs::read(fixture(name)).unwrap();
        let folder = copy_fixture(folder_name);
        for len in [1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(folder.path().join(file), &whole[..len]).unwrap();
            let error = open_error(folder.path());
            let known = matches!(
                error,
                CheckpointError::Zip { .. }
                    | CheckpointError::Safetensors { .. }
                    | CheckpointError::ZipEntry { .. }
            );
            assert!(known && error.to_string().contains(file), "{len}: {error}");
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn files_that_are_not_weights_are_named() {
    let folder = copy_fixture("mini-int8");
    let file = folder.path().join("pytorch_model.bin");
    let with = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        open_error(folder.path())
    };
    assert!(matches!(
        with(b""),
        CheckpointError::WrongKind {
            found: FileKind::Empty,
            ..
        }
    ));
    let pointer = with(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
    assert!(matches!(
        pointer,
        CheckpointError::NotWeights {
            found: Lookalike::GitLfsPointer,
            ..
        }
    ));
    assert!(pointer.hint().unwrap().contains("git lfs pull"));
    assert!(matches!(
        with(b"<!DOCTYPE html><html>"),
        CheckpointError::NotWeights {
            found: Lookalike::WebPage,
            ..
        }
    ));
    for protocol in 2..6 {
        let legacy = [
            &[0x80, protocol][..],
            b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
        ]
        .concat();
        assert!(matches!(with(&legacy), CheckpointError::LegacyTorch { .. }));
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::WrongKind {
            found: FileKind::Folder,
            ..
        }
    ));
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_named() {
    let folder = copy_fixture("mini-int8");
    let file = folder.path().join("pytorch_model.bin");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::WrongKind {
            found: FileKind::DanglingLink,
            ..
        }
    ));
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_passed_over() {
    use std::os::unix::ffi::OsStrExt;
    let folder = copy_fixture("mini-int8");
    fs::write(
        folder
            .path()
            .join(std::ffi::OsStr::from_bytes(b"pytorch_\xff.bin")),
        "x",
    )
    .unwrap();
    Checkpoint::open(folder.path()).unwrap();
}

#[test]
fn an_index_and_its_shards_must_agree() {
    let folder = copy_fixture("tiny-fp16-bin");
    let shard = folder.path().join("pytorch_model-00002-of-00003.bin");
    let index = folder.path().join("pytorch_model.bin.index.json");
    let aside = folder.path().join("aside");
    fs::rename(&shard, &aside).unwrap();
    let error = open_error(folder.path());
    assert!(
        matches!(error, CheckpointError::MissingShard { ref shard, tensors, .. } if shard.contains("00002") && tensors > 0)
    );
    fs::rename(&aside, &shard).unwrap();
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replacen("00001-of", "00002-of", 1)).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::MisplacedTensor { .. }
    ));
    fs::write(
        &index,
        text.replacen("pytorch_model-00001-of-00003.bin", "../../etc/passwd", 1),
    )
    .unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::ShardName { .. }
    ));
    fs::write(&index, "{\"weight_map\": [1]}").unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::Json {
            what: FileRole::ShardIndex,
            ..
        }
    ));
    fs::remove_file(&index).unwrap();
    Checkpoint::open(folder.path()).unwrap(); // without an index every shard is read
    fs::copy(&shard, folder.path().join("pytorch_model-00009.bin")).unwrap();
    assert!(matches!(
        open_error(folder.path()),
        CheckpointError::DuplicateTensor { .. }
    ));
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let checkpoint = Checkpoint::open(fixture("mini-int8")).unwrap();
    let stem = "transformer.h.0.mlp.fc_in";
    assert!(matches!(
        checkpoint.linear("transformer.h.9.mlp.fc_in", shape(128, 384, true)),
        Err(CheckpointError::MissingTensor { .. })
    ));
    checkpoint.linear(stem, shape(128, 384, true)).unwrap();
    let wrong = checkpoint.linear(stem, shape(128, 385, true)).unwrap_err();
    assert!(
        matches!(wrong, CheckpointError::Shape { ref expected, .. } if *expected == [385]),
        "{wrong}"
    );
    assert!(matches!(
        checkpoint.linear(stem, shape(100, 384, true)),
        Err(CheckpointError::BitWidth { .. })
    ));
    let tensor = checkpoint.tensor(&format!("{stem}.qweight")).unwrap();
    assert!(matches!(
        tensor.to_f32(),
        Err(CheckpointError::Dtype { .. })
    ));
}

/// Returns a pickle of protocol 2 with these instructions.
fn pickle(body: &[u8]) -> Vec<u8> {
    [&[0x80, 2][..], body].concat()
}

#[test]
fn a_pickle_that_would_run_code_is_refused_by_name() {
    // os.system("…"), the usual attack.
    let write = |pickle: &[u8]| open_error(torch_folder(pickle, &[], &[]).path());
    let error = write(&pickle(b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R."));
    let CheckpointError::Pickle {
        source: PickleError::Global { name, .. },
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(name, "os.system");
    // INST, OBJ, NEWOBJ and EXT are not on the allow-list either.
    for opcode in [b'i', b'o', 0x81, 0x82, 0x92] {
        let error = write(&pickle(&[b'(', opcode, b'.']));
        assert!(
            matches!(
                error,
                CheckpointError::Pickle {
                    source: PickleError::Opcode { .. },
                    ..
                }
            ),
            "{error}"
        );
    }
    let error = write(&pickle(b"ctorch._utils\n_rebuild_tensor_v2\n)R."));
    assert!(
        matches!(
            error,
            CheckpointError::Pickle {
                source: PickleError::Value { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn bombs_and_cycles_cost_nothing() {
    // A string with a length of four gigabytes.
    assert!(!fuzzing::pickle(&pickle(b"X\xff\xff\xff\xff.")));
    // A tuple of tuples of tuples, each twice the one before, through the memo: 2^60 values if they
    // were copied.
    let mut doubling = b")q\x00".to_vec();
    for _ in 0..60 {
        doubling.extend(b"h\x00h\x00\x86q\x00");
    }
    doubling.push(b'.');
    assert!(!fuzzing::pickle(&pickle(&doubling)));
    // A dict that contains itself, and a chain of a hundred thousand lists.
    assert!(fuzzing::pickle(&pickle(b"}q\x00X\x01\x00\x00\x00ah\x00s.")));
    let mut chain = b"]".repeat(100_000);
    chain.extend(b"a".repeat(99_999));
    chain.push(b'.');
    assert!(!fuzzing::pickle(&pickle(&chain)));
    // More values than any state dict has.
    assert!(!fuzzing::pickle(&pickle(&b"N".repeat(3 << 20))));
    // A safetensors header with a length that exceeds the memory.
    assert!(!fuzzing::safetensors(&[0xff; 64]));
}

#[test]
fn one_long_tuple_passed_to_many_calls_costs_no_copies() {
    // A tuple of half a million values as the arguments of 150 000 calls: the first call is
    // refused.
    let hostile = [
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nq\x00(",
        &b"N".repeat(500_000)[..],
        b"tq\x01",
        &b"h\x00h\x01R0".repeat(150_000),
        b"}.",
    ];
    let start = Instant::now();
    assert!(!fuzzing::pickle(&hostile.concat()));
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_zip_directory_larger_than_memory_is_refused() {
    let file = |entries: u64, size: u64, start: u64| {
        let mut bytes = vec![0u8; 64];
        let end = bytes.len() as u64;
        bytes.extend(b"PK\x06\x06"); // zip64 end of central directory
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [entries, entries, size, start] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0"); // its locator
        bytes.extend(end.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
        bytes
    };
    for huge in [1u64 << 34, 1 << 44, 1 << 62, u64::MAX] {
        assert!(!fuzzing::torch_zip(&file(huge, huge, huge)));
        assert!(!fuzzing::torch_zip(&file(huge / 64, huge, 0)));
        assert!(!fuzzing::torch_zip(&file(60, huge, 64)));
        assert!(!fuzzing::torch_zip(&file(huge, 0, 64)));
    }
}

#[test]
fn compressed_entries_are_refused_with_their_name() {
    // The local and central headers of the first entry say "deflated".
    let folder = copy_fixture("mini-int8");
    let file = folder.path().join("pytorch_model.bin");
    let mut bytes = fs::read(&file).unwrap();
    let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[8] = 8;
    bytes[central + 10] = 8;
    fs::write(&file, bytes).unwrap();
    let error = open_error(folder.path());
    let CheckpointError::ZipEntry { entry, found, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        entry.ends_with("data.pkl") && matches!(found, EntryFault::Compressed(_)),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_files_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), kind in 0usize..5) {
        let damage = |name: &str| {
            let mut bytes = fs::read(fixture(name)).unwrap();
            // The headers are in the first and last kilobytes.
            let len = bytes.len();
            for (at, value) in &flips {
                let at = at.index(2 * len.min(8192));
                let at = if at < len.min(8192) { at } else { len - 1 - (at - len.min(8192)) };
                bytes[at] ^= value;
            }
            if kind % 2 == 1 {
                bytes.truncate(cut.index(len));
            }
            bytes
        };
        fuzzing::config(&damage("mini-int8/config.json"));
        fuzzing::index(&damage("tiny-fp16-bin/pytorch_model.bin.index.json"));
        fuzzing::torch_zip(&damage("mini-int8/pytorch_model.bin"));
        fuzzing::safetensors(&damage("mini-int8-act-order/model.safetensors"));
    }

    #[test]
    fn damaged_folders_open_and_read_or_say_why(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), which in 0usize..4) {
        let (name, file) = [
            ("mini-int8", "pytorch_model.bin"),
            ("mini-int8-act-order", "model.safetensors"),
            ("mini-int4-act-order", "config.json"),
            ("tiny-fp16-bin", "pytorch_model-00001-of-00003.bin"),
        ][which];
        let folder = copy_fixture(name);
        let mut bytes = fs::read(folder.path().join(file)).unwrap();
        let len = bytes.len().min(6000);
        for (at, value) in &flips {
            bytes[at.index(len)] ^= value;
        }
        fs::write(folder.path().join(file), bytes).unwrap();
        match Checkpoint::open(folder.path()) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(checkpoint) => {
                for info in checkpoint.tensor_infos() {
                    let tensor = checkpoint.tensor(&info.name).unwrap();
                    prop_assert_eq!(tensor.data.len() as u64, info.bytes());
                    let _ = (tensor.check_finite().is_ok(), tensor.to_i32().is_ok());
                }
                let width = checkpoint.config().hidden_size;
                let _ = checkpoint.linear("transformer.h.0.attn.out_proj", shape(width, width, false));
            }
        }
    }

    #[test]
    fn any_bytes_are_an_answer_to_the_pickle_machine(body in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::pickle(&pickle(&body));
    }

    #[test]
    fn any_opcodes_are_an_answer_to_the_pickle_machine(ops in prop::collection::vec(prop::sample::select(b"(tqhK.}u]ae)\x85\x86\x87Rb0N\x88\x94JMX\x8cQcs\x93".to_vec()), 0..200)) {
        fuzzing::pickle(&pickle(&ops));
    }
}
