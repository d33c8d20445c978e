//! Commands overwrite only files that they have created, unless `--force` is given.

use std::{fs, path::Path};

use crate::support::{demo, moss, text};

const PRECIOUS: &str = "a file of the user's";

fn chat(folder: &Path, lines: &str) -> String {
    let out = moss(
        folder,
        &["--demo", "--lang", "en", "--temperature", "0"],
        lines.as_bytes(),
    );
    assert!(out.status.success());
    text(&out.stderr)
}

#[test]
fn save_replaces_its_own_file_and_others_only_with_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat.json");
    fs::write(&file, PRECIOUS).unwrap();
    let said = chat(
        folder.path(),
        "Hi\n/save chat.json\n/save new.json\n/save new.json\n/save ./new.json\n",
    );
    assert!(
        said.contains("error: `chat.json` already exists") && said.contains("`--force`"),
        "{said}"
    );
    assert_eq!(
        (
            said.matches("already exists").count(),
            said.matches("turn(s) in").count()
        ),
        (1, 3),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), PRECIOUS);
    // Another chat did not create it.
    assert!(chat(folder.path(), "/save new.json\n").contains("already exists"));
    let said = chat(
        folder.path(),
        "Hi\n/save --force chat.json\n/save chat.json\n/save --force\n",
    );
    assert!(
        !said.contains("already exists") && said.contains("`/save` needs a file"),
        "{said}"
    );
    assert!(fs::read_to_string(&file).unwrap().contains("\"turns\""));
    let left = fs::read_dir(folder.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".new")
    });
    assert_eq!(left.count(), 0, "nothing half is left");
}

#[test]
fn logits_are_not_written_over_a_file_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.safetensors");
    fs::write(&file, PRECIOUS).unwrap();
    let args = [
        "logits",
        "--demo",
        "--ids",
        "1,2",
        "--out",
        "out.safetensors",
        "--lang",
        "en",
    ];
    let out = moss(folder.path(), &args, b"");
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("`out.safetensors` already exists"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), PRECIOUS);
    let out = moss(folder.path(), &[&args[..], &["--force"]].concat(), b"");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(fs::read(&file).unwrap().len() > 1000);
    #[cfg(unix)]
    {
        let to_device = ["logits", "--demo", "--ids", "1", "--out", "/dev/null"];
        assert!(moss(folder.path(), &to_device, b"").status.success());
        std::os::unix::fs::symlink("out.safetensors", folder.path().join("link")).unwrap();
        let before = fs::read(&file).unwrap();
        let through_link = ["logits", "--demo", "--ids", "3", "--out", "link"];
        assert!(!moss(folder.path(), &through_link, b"").status.success());
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn convert_and_quantize_replace_a_checkpoint_only_with_force() {
    let demo = &demo();
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let out = moss(
            folder.path(),
            &[args, &["--lang", "en", "-q"]].concat(),
            b"",
        );
        (out.status.code(), text(&out.stderr))
    };
    let convert = ["convert", demo, "there", "--to", "safetensors"];
    assert_eq!(run(&convert).0, Some(0));
    fs::write(folder.path().join("there/notes.txt"), PRECIOUS).unwrap();
    let quantize = [
        "quantize",
        demo,
        "there",
        "--method",
        "rtn",
        "--no-perplexity",
    ];
    for command in [&convert[..], &quantize] {
        let (status, said) = run(command);
        assert!(
            status == Some(1) && said.contains("already exists") && said.contains("--force"),
            "{said}"
        );
    }
    // `--force` replaces the whole folder, so other files in it are an error.
    for command in [&convert[..], &quantize] {
        let (status, said) = run(&[command, &["--force"]].concat());
        assert!(
            status == Some(1) && said.contains("notes.txt") && said.contains("not replaced"),
            "{said}"
        );
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("there/notes.txt")).unwrap(),
        PRECIOUS
    );
    fs::remove_file(folder.path().join("there/notes.txt")).unwrap();
    let (status, said) = run(&[&quantize[..], &["--force"]].concat());
    assert_eq!(status, Some(0), "{said}");
    assert!(folder.path().join("there/pytorch_model.bin").exists());
    assert!(
        !folder.path().join("there/model.safetensors").exists(),
        "nothing of the old one is left"
    );
    assert!(!folder.path().join("there.replaced").exists());
    // `--force` replaces neither other folders nor the source checkpoint.
    fs::create_dir(folder.path().join("home")).unwrap();
    fs::write(folder.path().join("home/notes.txt"), PRECIOUS).unwrap();
    let (status, said) = run(&["convert", demo, "home", "--to", "bin", "--force"]);
    assert!(
        status == Some(1) && said.contains("is not a checkpoint folder"),
        "{said}"
    );
    let (status, said) = run(&[
        "convert",
        "there",
        "there",
        "--to",
        "safetensors",
        "--force",
    ]);
    assert!(
        status == Some(1) && said.contains("contains the checkpoint to read"),
        "{said}"
    );
    assert!(
        folder.path().join("home/notes.txt").exists()
            && folder.path().join("there/config.json").exists()
    );
}
