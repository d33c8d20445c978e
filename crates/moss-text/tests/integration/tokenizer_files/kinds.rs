//! Other encodings, and what is not a regular file.

use std::{fs, path::Path};

use moss_text::{TextError, Tokenizer};

use super::{FILES, Folder, same};

#[test]
fn byte_order_marks_and_crlf_change_nothing_and_other_encodings_are_named() {
    for name in FILES {
        let folder = Folder::new();
        let text = folder.text(name);
        same(&folder.with(name, format!("\u{FEFF}{text}")).open().unwrap());
        same(
            &Folder::new()
                .with(name, text.replace('\n', "\r\n"))
                .open()
                .unwrap(),
        );
        same(
            &Folder::new()
                .with(name, format!("\u{FEFF}{}", text.replace('\n', "\r\n")))
                .open()
                .unwrap(),
        );
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for mark in [&b"\xFF\xFE"[..], b""] {
            let error = Folder::new().with(name, [mark, &wide].concat()).error();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(
                cause.contains("UTF-16") && error.to_string().contains(name),
                "{error}: {cause}"
            );
        }
    }
    let cr = Folder::new().text("merges.txt").replace('\n', "\r");
    assert!(matches!(
        Folder::new().with("merges.txt", cr).error(),
        TextError::LineEnd { line: 1, .. }
    ));
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_huge_files_in_place_of_tokenizer_files_are_refused_at_once() {
    let refused = |folder: &Folder, name: &str, why: &str| {
        let error = folder.error();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error.to_string().contains(name) && cause.contains(why),
            "{error}: {cause}"
        );
    };
    for name in FILES {
        let folder = Folder::new().without(name);
        assert!(
            std::process::Command::new("mkfifo")
                .arg(folder.file(name))
                .status()
                .unwrap()
                .success()
        );
        refused(&folder, name, "a named pipe");
        let link = |target: &Path| {
            let folder = Folder::new().without(name);
            std::os::unix::fs::symlink(target, folder.file(name)).unwrap();
            folder
        };
        refused(&link(Path::new("/dev/zero")), name, "a device");
        refused(&link(Path::new("nowhere")), name, "a dangling link");
        refused(&link(&std::env::temp_dir()), name, "a folder");
        let folder = Folder::new();
        fs::File::create(folder.file(name))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        refused(&folder, name, "larger than");
    }
}

#[test]
fn a_folder_with_tokenizer_json_alone_is_an_error_that_names_the_files_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    assert!(matches!(error, TextError::TokenizerJson { .. }), "{error}");
    assert!(error.hint().unwrap().contains("vocab.json"), "{error}");
    assert!(!Tokenizer::is_present(folder.path()));
    fs::write(folder.path().join("vocab.json"), "{}").unwrap();
    assert!(
        Tokenizer::is_present(folder.path()),
        "an incomplete tokenizer is still a tokenizer"
    );
    assert!(matches!(
        Tokenizer::from_folder(folder.path()).unwrap_err(),
        TextError::Read { .. }
    ));
}
