//! A model that fails in the middle of an answer.

use std::path::Path;

use moss_testing::{ids, read_json};
use serde_json::Value;

use crate::support::{demo, moss, ok, ok_json, text};

/// Greedy, and without the default system prompt, which contains most tokens.
const SETTINGS: [&str; 4] = ["--temperature", "0", "--system", "S"];

fn ids_of_answer(model: &str, message: &str) -> Vec<u32> {
    let args = [
        &["generate", "--json", "--quiet", "--model", model, message],
        &SETTINGS[..],
    ]
    .concat();
    ids(&ok_json(&args)["ids"])
}

/// Makes the embedding of a token NaN, so that the forward pass fails that processes the token.
fn poison(file: &Path, id: u32) {
    let mut bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let wte = &header["transformer.wte.weight"];
    assert_eq!(wte["dtype"], "F16");
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let (width, begin) = (number(&wte["shape"][1]), number(&wte["data_offsets"][0]));
    let row = 8 + length + begin + id as usize * width * 2;
    bytes[row..row + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn the_text_of_a_failed_answer_is_kept_and_the_chat_continues() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("ill").display().to_string();
    ok(
        &["convert", &demo(), &model, "--to", "safetensors", "--quiet"],
        "",
    );
    let (well, ill) = (
        ids_of_answer(&model, "你好"),
        ids_of_answer(&model, "Who are you?"),
    );
    let at = (4..ill.len())
        .find(|at| !well.contains(&ill[*at]) && !ill[..*at].contains(&ill[*at]))
        .unwrap();
    poison(&folder.path().join("ill/model.safetensors"), ill[at]);
    let args = [&["--model", "ill", "--lang", "en"], &SETTINGS[..]].concat();
    let lines = "你好\nWho are you?\n/save kept.json\n/regen\n/undo\n/undo\n你好\n";
    let out = moss(folder.path(), &args, lines.as_bytes());
    let (answers, notes) = (text(&out.stdout), text(&out.stderr));
    let answers: Vec<_> = answers.lines().collect();
    assert!(
        out.status.success() && answers.len() == 4,
        "{answers:?} {notes}"
    );
    assert_eq!((answers[0], answers[1]), (answers[3], answers[2]));
    let saved = read_json(folder.path().join("kept.json"));
    assert_eq!(
        (&saved["turns"][1]["user"], &saved["turns"][1]["moss"]),
        (&"Who are you?".into(), &answers[1].into())
    );
    assert_eq!(saved["turns"][1]["ids"].as_array().unwrap().len(), at + 1);
    let once = moss(
        folder.path(),
        &[&["generate", "Who are you?"], &args[..]].concat(),
        b"",
    );
    assert!(
        !once.status.success() && text(&once.stdout).ends_with('\n'),
        "the error starts on a new line"
    );
    assert_eq!(text(&once.stdout).trim(), answers[1]);
    for part in [
        "error: cannot answer",
        &format!("step {} failed", at + 1),
        "`/regen` answers again",
        "removed: 你好",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}
