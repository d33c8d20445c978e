//! Request bodies, whole and damaged. Those in `tests/bodies` are also seeds of the fuzz targets.

use std::{fs, path::Path};

use moss_server::fuzzing;

/// Returns the bodies of a folder, by name.
fn bodies(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bodies")
        .join(kind);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found: Vec<_> = files
        .map(|file| {
            (
                file.display().to_string(),
                fs::read(&file).unwrap().trim_ascii().to_vec(),
            )
        })
        .collect();
    assert!(!found.is_empty());
    found
}

fn check(kind: &str, is_request: fn(&[u8]) -> bool) {
    for (name, body) in bodies(kind) {
        assert!(is_request(&body), "{name}");
        for end in 0..body.len() {
            assert!(!is_request(&body[..end]), "the first {end} bytes of {name}");
        }
        damage(&body, is_request);
    }
}

/// Checks that no wrong byte causes a panic.
fn damage(body: &[u8], is_valid: fn(&[u8]) -> bool) {
    for place in 0..body.len() {
        for byte in [0, b'"', b'-', b'9', b'e', b'[', b'}', 0x80, 0xff] {
            let mut damaged = body.to_vec();
            damaged[place] = byte;
            is_valid(&damaged);
        }
    }
}

#[test]
fn chats_are_read_whole_or_refused() {
    check("chat", fuzzing::chat);
}

#[test]
fn completions_are_read_whole_or_refused() {
    check("completion", fuzzing::completion);
}

/// As [`check`], for formats in which a part of a valid text may be valid.
fn check_whole(kind: &str, is_valid: fn(&[u8]) -> bool) {
    for (name, bytes) in bodies(kind) {
        assert!(is_valid(&bytes), "{name}");
        for end in 0..bytes.len() {
            is_valid(&bytes[..end]);
        }
        damage(&bytes, is_valid);
    }
}

#[test]
fn key_files_and_trace_parents_are_read_or_refused() {
    check_whole("key_file", fuzzing::key_file);
    check_whole("trace_parent", fuzzing::trace_parent);
}
