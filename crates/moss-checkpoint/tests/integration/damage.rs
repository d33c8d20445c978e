//! Damaged records of weight files are found and named. Weights in memory do not depend on their
//! files.

use std::{fs, path::Path};

use moss_checkpoint::{Checkpoint, CheckpointError, Warning, WeightStorage, check_files};
use moss_testing::{
    checkpoint::{Saved, state_dict, torch_folder},
    copy_fixture, fixture,
};
use zip::ZipArchive;

fn damage(folder: &Path) -> Vec<CheckpointError> {
    check_files(folder, &mut |_, _| {}).unwrap().damage
}

/// Returns name, offset and length of every record.
fn records(file: &Path) -> Vec<(String, usize, usize)> {
    let mut archive = ZipArchive::new(fs::File::open(file).unwrap()).unwrap();
    (0..archive.len())
        .map(|index| {
            let entry = archive.by_index_raw(index).unwrap();
            (
                entry.name().unwrap().into_owned(),
                entry.data_start().unwrap() as usize,
                entry.size() as usize,
            )
        })
        .collect()
}

#[test]
fn every_damaged_record_of_a_pytorch_file_is_named_with_its_tensors() {
    let folder = copy_fixture("mini-int8");
    let file = folder.path().join("pytorch_model.bin");
    let whole = fs::read(&file).unwrap();
    assert!(damage(folder.path()).is_empty());
    for (name, start, size) in records(&file).into_iter().filter(|(_, _, size)| *size > 0) {
        for at in [start, start + size / 2, start + size - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&file, bytes).unwrap();
            let found = damage(folder.path());
            let [
                CheckpointError::Checksum {
                    record,
                    tensors,
                    found,
                    expected,
                    ..
                },
            ] = &found[..]
            else {
                panic!("{name}: {found:?}")
            };
            assert!(*record == name && found != expected, "{name}: {record}");
            assert_eq!(
                !tensors.is_empty(),
                name.contains("/data/"),
                "{name}: {tensors:?}"
            );
        }
    }
}

#[test]
fn damage_to_the_directory_of_a_file_is_reported_too() {
    let folder = copy_fixture("mini-int8");
    let file = folder.path().join("pytorch_model.bin");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len() - 22; // the signature of the last structure
    bytes[end] ^= 0xff;
    fs::write(&file, bytes).unwrap();
    assert_eq!(damage(folder.path()).len(), 1);
}

#[test]
fn headers_extents_and_lengths_of_safetensors_files_must_agree() {
    let folder = copy_fixture("mini-fp16-safetensors");
    let file = folder.path().join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    assert!(damage(folder.path()).is_empty());
    let longer = [&whole[..], b"more"].concat();
    for bytes in [
        &whole[..whole.len() - 1],
        &longer,
        &[&whole[..8], &whole[9..]].concat(),
    ] {
        fs::write(&file, bytes).unwrap();
        let found = damage(folder.path());
        assert!(
            matches!(&found[..], [CheckpointError::Safetensors { .. }]),
            "{found:?}"
        );
    }
}

#[test]
fn a_file_written_without_checksums_is_a_warning() {
    let tensor = Saved {
        name: "x",
        kind: "Int",
        storage: 0,
        offset: 0,
        shape: &[1],
        strides: &[1],
    };
    let folder = torch_folder(&state_dict(&[tensor]), &[&[1, 2, 3, 4]], &[]);
    let file = folder.path().join("pytorch_model.bin");
    let mut bytes = fs::read(&file).unwrap();
    let headers: Vec<_> = bytes
        .windows(4)
        .enumerate()
        .filter_map(|(at, magic)| match magic {
            b"PK\x03\x04" => Some(at + 14),
            b"PK\x01\x02" => Some(at + 16),
            _ => None,
        })
        .collect();
    headers.into_iter().for_each(|at| bytes[at..at + 4].fill(0));
    fs::write(&file, bytes).unwrap();
    let check = check_files(folder.path(), &mut |_, _| {}).unwrap();
    assert!(check.damage.is_empty(), "{:?}", check.damage);
    assert!(matches!(&check.warnings[..], [Warning::NoChecksums { .. }]));
}

#[test]
fn progress_ends_with_all_bytes() {
    let (mut last, mut total) = (0, 0);
    check_files(fixture("tiny-fp16-bin"), &mut |done, all| {
        assert!(done >= last && done <= all, "{done} after {last} of {all}");
        (last, total) = (done, all);
    })
    .unwrap();
    assert!(total > 0 && last == total);
    assert_eq!(
        total,
        Checkpoint::weight_file_bytes(fixture("tiny-fp16-bin")).unwrap()
    );
}

#[test]
fn weights_in_memory_are_those_of_the_mapping_and_outlast_their_file() {
    for name in ["mini-int4-act-order", "mini-fp16-safetensors"] {
        let folder = copy_fixture(name);
        let mapped = Checkpoint::open(fixture(name)).unwrap();
        let read = Checkpoint::open_with(folder.path(), WeightStorage::InMemory).unwrap();
        for file in read.weight_files() {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(0)
                .unwrap();
        }
        for info in mapped.tensor_infos() {
            let (one, other) = (
                mapped.tensor(&info.name).unwrap(),
                read.tensor(&info.name).unwrap(),
            );
            read.release(&info.name);
            assert_eq!(one.data, other.data, "{name}: {}", info.name);
            let mut copy = vec![0; other.data.len()];
            read.read(&other.data, &mut copy).unwrap();
            assert_eq!(copy, one.data, "{name}: {}", info.name);
        }
    }
}

#[cfg(unix)]
#[test]
fn reading_by_pieces_from_a_truncated_file_is_an_error() {
    let folder = copy_fixture("mini-fp16-safetensors");
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let name = checkpoint.tensor_infos().next().unwrap().name.clone();
    let file = folder.path().join("model.safetensors");
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(0)
        .unwrap();
    let read = checkpoint.for_each_piece(&name, &mut |_| Ok::<_, CheckpointError>(()));
    let error = read.unwrap_err();
    assert!(
        matches!(error, CheckpointError::Read { .. })
            && error.to_string().contains("model.safetensors")
    );
}

#[test]
fn a_config_and_an_index_may_begin_with_a_byte_order_mark_and_utf16_is_named() {
    for name in ["config.json", "pytorch_model.bin.index.json"] {
        let folder = copy_fixture("tiny-fp16-bin");
        let file = folder.path().join(name);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        Checkpoint::open(folder.path()).unwrap();
        for (mark, encoding) in [("", "UTF-16LE"), ("\u{feff}", "UTF-16LE")] {
            let wide: Vec<u8> = format!("{mark}{text}")
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect();
            fs::write(&file, wide).unwrap();
            let error = Checkpoint::open(folder.path()).unwrap_err();
            assert!(matches!(error, CheckpointError::Encoding { .. }), "{error}");
            assert!(error.to_string().contains(name) && error.hint().unwrap().contains(encoding));
        }
    }
}
