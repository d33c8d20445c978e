//! `inspect`.

use moss_testing::copy_fixture;
use serde_json::{Value, json};

use crate::support::{fixture, ok, run, text};

#[test]
fn inspect_says_what_a_checkpoint_holds() {
    let out = ok(&["inspect", &fixture("mini-int4-act-order")], "");
    assert!(
        out.contains("GPTQ int4, group 128, act-order") && out.contains("tokenizer none"),
        "{out}"
    );
    let out: Value =
        serde_json::from_str(&ok(&["inspect", "--demo", "--json", "--check"], "")).unwrap();
    assert_eq!((&out["layers"], &out["problems"]), (&json!(8), &json!([])));
}

#[test]
fn inspect_lists_tensors_and_fails_on_a_broken_checkpoint() {
    let out = ok(
        &["inspect", &fixture("mini-int8"), "--json", "--tensors"],
        "",
    );
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        out["tensors"].as_u64().unwrap() as usize,
        out["tensor_list"].as_array().unwrap().len()
    );
    assert_eq!(
        out["cache_bytes_per_token"],
        2 * 2 * 2 * 128,
        "layers, keys and values, f16, width"
    );
    let folder = copy_fixture("mini-int8");
    let weights = folder.path().join("pytorch_model.bin");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let broken = run(&["inspect", &folder.path().display().to_string()], "");
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        text(&broken.stderr).contains("pytorch_model.bin"),
        "{}",
        text(&broken.stderr)
    );
}

#[test]
fn inspect_check_names_the_damaged_record_and_its_tensor() {
    for (name, expected) in [("data.pkl", "data.pkl` of"), ("data/3", "data/3` of")] {
        let folder = copy_fixture("mini-int8");
        let file = folder.path().join("pytorch_model.bin");
        let mut bytes = std::fs::read(&file).unwrap();
        // The local header has the lengths of the name and of the extra fields, which the data
        // follow.
        let name = name.as_bytes();
        let at = bytes
            .windows(name.len())
            .position(|window| window == name)
            .unwrap();
        let header = bytes[..at]
            .windows(4)
            .rposition(|magic| magic == b"PK\x03\x04")
            .unwrap();
        let length = |offset: usize| {
            usize::from(u16::from_le_bytes(
                bytes[header + offset..header + offset + 2]
                    .try_into()
                    .unwrap(),
            ))
        };
        let data = header + 30 + length(26) + length(28);
        bytes[data + 1] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let path = folder.path().display().to_string();
        let out = run(&["inspect", &path, "--check", "--lang", "en"], "");
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(
            said.contains(expected) && said.contains("is damaged: its CRC-32 is 0x"),
            "{said}"
        );
        assert_eq!(
            name != b"data.pkl",
            said.contains("(it holds `transformer.h."),
            "{said}"
        );
    }
    let whole = ok(
        &["inspect", &fixture("mini-int8"), "--check", "--lang", "en"],
        "",
    );
    assert!(!whole.contains("problem"), "{whole}");
}
