//! Sparse files of the published size, which take almost no space on disk.
#![cfg(target_os = "linux")] // memory is read from /proc
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use moss_checkpoint::Checkpoint;
use moss_testing::{
    checkpoint::{Saved, state_dict},
    fixture,
};

const GIB: u64 = 1 << 30;

/// Limit of the mapped memory after opening: a few pages of headers, and the kernel's readahead.
const HEADER_BYTES: u64 = 8 << 20;

/// Memory is measured for the whole process, so these tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn resident_bytes() -> u64 {
    moss_testing::memory_bytes("self", "VmRSS")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("mini-int8/config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    folder
}

/// Writes a zip file without the five gigabytes of zeros that a zip library would write. Entries
/// are (name, length, first bytes), with sizes and offsets in zip64 extra fields, as in PyTorch
/// files over 4 GiB.
fn write_zip64(path: &Path, entries: &[(&str, u64, &[u8])]) {
    let mut file = File::create(path).unwrap();
    let mut directory = Vec::new();
    for (name, len, head) in entries {
        let at = file.stream_position().unwrap();
        let shared = |out: &mut Vec<u8>, extra: &[u64]| {
            // version, UTF-8, stored, no date, no checksum
            out.extend([45, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend([0xff; 8]); // both sizes: see the extra field
            out.extend((name.len() as u16).to_le_bytes());
            out.extend((4 + 8 * extra.len() as u16).to_le_bytes());
        };
        let field = |out: &mut Vec<u8>, extra: &[u64]| {
            out.extend(name.as_bytes());
            out.extend([1, 0]);
            out.extend((8 * extra.len() as u16).to_le_bytes());
            extra
                .iter()
                .for_each(|value| out.extend(value.to_le_bytes()));
        };
        let mut local = b"PK\x03\x04".to_vec();
        shared(&mut local, &[*len, *len]);
        field(&mut local, &[*len, *len]);
        file.write_all(&local).unwrap();
        file.write_all(head).unwrap();
        file.seek(SeekFrom::Start(at + local.len() as u64 + len))
            .unwrap();

        directory.extend(b"PK\x01\x02\x2d\0");
        shared(&mut directory, &[*len, *len, at]);
        directory.extend([0; 10]); // no comment, disk 0, no attributes
        directory.extend([0xff; 4]); // offset: see the extra field
        field(&mut directory, &[*len, *len, at]);
    }
    let start = file.stream_position().unwrap();
    let end = start + directory.len() as u64;
    let mut tail = directory.clone();
    tail.extend(b"PK\x06\x06");
    tail.extend(44u64.to_le_bytes());
    tail.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [
        entries.len() as u64,
        entries.len() as u64,
        directory.len() as u64,
        start,
    ] {
        tail.extend(value.to_le_bytes());
    }
    tail.extend(b"PK\x06\x07\0\0\0\0");
    tail.extend(end.to_le_bytes());
    tail.extend([1, 0, 0, 0]);
    tail.extend(b"PK\x05\x06\0\0\0\0");
    tail.extend([0xff; 12]);
    tail.extend([0, 0]);
    file.write_all(&tail).unwrap();
}

#[test]
fn a_shard_past_four_gibibytes_opens_by_its_headers_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let elements = 3 * GIB as i64;
    let big = Saved {
        name: "大",
        kind: "Half",
        storage: 0,
        offset: 0,
        shape: &[elements],
        strides: &[1],
    };
    let small = Saved {
        name: "小",
        kind: "Int",
        storage: 1,
        offset: 0,
        shape: &[2],
        strides: &[1],
    };
    let pickle = state_dict(&[big, small]);
    let words: Vec<u8> = [7i32, -9].into_iter().flat_map(i32::to_le_bytes).collect();
    write_zip64(
        &folder.path().join("pytorch_model.bin"),
        &[
            ("a/data.pkl", pickle.len() as u64, &pickle),
            ("a/data/0", 6 * GIB, &[]),
            ("a/data/1", 8, &words),
        ],
    );
    let before = resident_bytes();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tensor("大").unwrap().data.len() as u64, 6 * GIB);
    assert_eq!(checkpoint.tensor("小").unwrap().to_i32().unwrap(), [7, -9]);
    assert!(
        resident_bytes() < before + HEADER_BYTES,
        "{before} grew to {}",
        resident_bytes()
    );
}

#[test]
fn released_pages_no_longer_count() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let header = format!(
        r#"{{"a":{{"dtype":"F16","shape":[{}],"data_offsets":[0,{GIB}]}},"b":{{"dtype":"F32","shape":[1],"data_offsets":[{GIB},{}]}}}}"#,
        GIB / 2,
        GIB + 4
    );
    let mut file = File::create(folder.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + GIB + 4).unwrap();
    drop(file);

    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let tensor = checkpoint.tensor("a").unwrap();
    let part = 64 << 20;
    let before = resident_bytes();
    let sum: u64 = tensor.data[..part]
        .chunks(4096)
        .map(|page| u64::from(page[0]))
        .sum();
    let read = resident_bytes();
    assert!(
        sum == 0 && read > before + part as u64 / 2,
        "{before} grew to {read} only"
    );
    checkpoint.release("a");
    let released = resident_bytes();
    assert!(
        released + part as u64 / 2 < read,
        "{read} shrank to {released} only"
    );
}
