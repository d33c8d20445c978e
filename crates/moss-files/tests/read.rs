//! Regular files are read; other files are rejected without blocking and without filling the memory.
#![allow(clippy::unwrap_used)]

use std::{fs, io, path::Path};

use moss_files::{FileError, FileKind, MAX_BYTES, read, read_bytes, read_text};
use moss_unicode::DecodeError;

fn fault(error: &io::Error) -> FileError {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<FileError>())
        .unwrap()
        .clone()
}

#[test]
fn a_byte_order_mark_is_skipped_and_other_encodings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let found = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        read_text(&file, 100).map_err(|error| fault(&error))
    };
    assert_eq!(
        found("\u{FEFF}{\"a\": 1}".as_bytes()).unwrap(),
        "{\"a\": 1}"
    );
    assert_eq!(found("你好".as_bytes()).unwrap(), "你好");
    assert_eq!(found(b"").unwrap(), "");
    assert_eq!(
        found(b"ab\xFFc"),
        Err(FileError::Text(DecodeError::NotUtf8 {
            offset: 2,
            line: 1,
            byte: 0xFF
        }))
    );
    let wide = |text: &str, mark: bool, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let mark = mark.then_some(0xFEFF);
        mark.into_iter()
            .chain(text.encode_utf16())
            .flat_map(order)
            .collect()
    };
    for mark in [true, false] {
        let wide_error = |encoding| Err(FileError::Text(DecodeError::Wide { encoding }));
        assert_eq!(
            found(&wide("{\"a\": 1}", mark, u16::to_le_bytes)),
            wide_error("UTF-16LE")
        );
        assert_eq!(
            found(&wide("{\"a\": 1}", mark, u16::to_be_bytes)),
            wide_error("UTF-16BE")
        );
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, [b' '; 11]).unwrap();
    assert_eq!(
        fault(&read(&file, 10).unwrap_err()),
        FileError::TooLarge { limit: 10 }
    );
    assert_eq!(read(&file, 11).unwrap().len(), 11);
    // Eight terabytes of nothing.
    fs::File::create(&file).unwrap().set_len(8 << 40).unwrap();
    assert_eq!(
        fault(&read_bytes(&file, MAX_BYTES).unwrap_err()),
        FileError::TooLarge { limit: MAX_BYTES }
    );
}

#[cfg(unix)]
#[test]
fn pipes_devices_folders_and_dangling_links_are_named_and_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |path: &Path| match fault(&read(path, MAX_BYTES).unwrap_err()) {
        FileError::Kind { found } => found,
        other => panic!("{other:?}"),
    };
    let pipe = folder.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(kind(&pipe), FileKind::NamedPipe);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    assert_eq!(kind(&link), FileKind::NamedPipe);
    assert_eq!(kind(Path::new("/dev/zero")), FileKind::Device);
    assert_eq!(kind(folder.path()), FileKind::Folder);
    let socket = folder.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(kind(&socket), FileKind::Socket);
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    assert_eq!(kind(&dangling), FileKind::DanglingLink);
    let missing = read(&folder.path().join("missing"), 1).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}
