//! The folders where models are searched, and the message if none is found.

use std::{fs, path::Path};

use moss_hub::{DemoFormat, HubError, ResolvedModel, SearchPlaces, resolve, unpack_demo};

fn places(root: &Path) -> SearchPlaces {
    SearchPlaces {
        current_dir: root.to_owned(),
        hub_cache: Some(root.join("hub")),
    }
}

fn checkpoint(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::write(folder.join("pytorch_model.bin"), "x").unwrap();
}

#[test]
fn places_are_looked_through_in_order() {
    let root = tempfile::tempdir().unwrap();
    let (root, name) = (root.path(), "moss-moon-003-sft-int4");
    let find = |name: &str| resolve(name, &places(root)).map(|model| model.folder);
    let cached = root.join("hub/models--fnlp--moss-moon-003-sft-int4");
    checkpoint(&cached.join("snapshots/abc"));
    fs::create_dir_all(cached.join("refs")).unwrap();
    fs::write(cached.join("refs/main"), "abc\n").unwrap();
    assert_eq!(find(name).unwrap(), cached.join("snapshots/abc"));
    assert_eq!(
        find("fnlp/moss-moon-003-sft-int4").unwrap(),
        cached.join("snapshots/abc")
    );
    checkpoint(&root.join(name));
    assert_eq!(find(name).unwrap(), root.join(name));
    checkpoint(&root.join("fnlp").join(name));
    assert_eq!(find(name).unwrap(), root.join("fnlp").join(name));
    assert_eq!(
        find(&format!("./{name}")).unwrap().canonicalize().unwrap(),
        root.join(name).canonicalize().unwrap()
    );
    assert_eq!(
        find("fnlp/moss-moon-003-sft-int4").unwrap(),
        root.join("fnlp").join(name)
    );
}

#[test]
fn a_python_users_download_under_the_organisations_new_name_is_found_by_the_old_one() {
    let root = tempfile::tempdir().unwrap();
    let snapshot = root
        .path()
        .join("hub/models--OpenMOSS-Team--moss-moon-003-sft/snapshots/abc");
    checkpoint(&snapshot);
    for name in [
        "moss-moon-003-sft",
        "fnlp/moss-moon-003-sft",
        "OpenMOSS-Team/moss-moon-003-sft",
    ] {
        assert_eq!(
            resolve(name, &places(root.path())).unwrap().folder,
            snapshot,
            "{name}"
        );
    }
    assert!(resolve("another/moss-moon-003-sft", &places(root.path())).is_err());
}

#[test]
fn an_incomplete_download_is_not_a_model() {
    let root = tempfile::tempdir().unwrap();
    let snapshot = root
        .path()
        .join("hub/models--fnlp--moss-moon-003-sft/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    let error = resolve("moss-moon-003-sft", &places(root.path())).unwrap_err();
    assert!(
        error.to_string().contains("contains no complete snapshot"),
        "{error}"
    );
}

#[test]
fn a_snapshot_without_the_added_tokens_is_incomplete_wherever_they_may_be_listed() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(root.path().join("m").join(name), text).unwrap();
    checkpoint(&root.path().join("m"));
    let model = resolve("./m", &places(root.path())).unwrap();
    assert_eq!(model.missing_file(), Some("vocab.json"));
    write("vocab.json", "{\"a\": 0}");
    assert_eq!(model.missing_file(), Some("merges.txt"));
    write("merges.txt", "");
    assert_eq!(model.missing_file(), Some("added_tokens.json"));
    write("tokenizer_config.json", "{\"model_max_length\": 2048}");
    assert_eq!(model.missing_file(), Some("added_tokens.json"));
    write(
        "tokenizer_config.json",
        "{\"added_tokens_decoder\": {\"1\": {\"content\": \"<eom>\"}}}",
    );
    assert_eq!(model.missing_file(), None);
    write("tokenizer_config.json", "{}");
    write("added_tokens.json", "{\"<eom>\": 1}");
    assert_eq!(model.missing_file(), None);
    fs::remove_file(root.path().join("m/added_tokens.json")).unwrap();
    write("vocab.json", "{\"a\": 0, \"<eom>\": 1}");
    assert_eq!(model.missing_file(), None);
}

#[test]
fn what_is_not_found_lists_the_places_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let error = resolve("moss-moon-003-sft", &places(root.path())).unwrap_err();
    let text = error.to_string();
    for place in ["fnlp/moss-moon-003-sft", "models--fnlp--moss-moon-003-sft"] {
        assert!(text.contains(place), "{text}");
    }
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("moss-cli download fnlp/moss-moon-003-sft`") && hint.contains("--demo"),
        "{hint}"
    );
}

#[test]
fn a_path_is_looked_for_where_it_leads_and_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("nowhere");
    for name in [path.to_str().unwrap(), "./nowhere", "a/b/c", "/nowhere"] {
        let error = resolve(name, &places(root.path())).unwrap_err();
        assert!(
            matches!(&error, HubError::NotFound { looked, .. } if looked.len() == 1),
            "{error}"
        );
        assert!(
            !error.hint().unwrap().contains("moss-cli download"),
            "{name}"
        );
    }
}

#[test]
fn a_misspelled_name_gets_the_nearest_one() {
    let root = tempfile::tempdir().unwrap();
    let error = resolve("moss-mon-003-sft-int4", &places(root.path())).unwrap_err();
    assert!(matches!(
        error,
        HubError::NotFound {
            similar: Some("moss-moon-003-sft-int4"),
            ..
        }
    ));
}

#[cfg(unix)]
#[test]
fn a_folder_keeps_a_published_name_and_else_has_its_real_one() {
    let root = tempfile::tempdir().unwrap();
    let real = root.path().join("0123abcd");
    checkpoint(&real);
    for (link, name) in [
        ("moss-moon-003-sft-plugin", "moss-moon-003-sft-plugin"),
        ("mine", "0123abcd"),
    ] {
        let link = root.path().join(link);
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(ResolvedModel::at(link).name, name);
    }
    assert_eq!(
        ResolvedModel::at(real.join("..").join("0123abcd")).name,
        "0123abcd"
    );
}

#[test]
fn the_demo_is_whole_for_all_who_unpack_it_at_the_same_time() {
    for _ in 0..5 {
        let cache = tempfile::tempdir().unwrap();
        let size = |folder: &std::path::Path| -> u64 {
            let files = std::fs::read_dir(folder).unwrap();
            files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum()
        };
        let sizes: Vec<u64> = std::thread::scope(|scope| {
            let unpack = || size(&unpack_demo(DemoFormat::Int4, cache.path()).unwrap());
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(unpack)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(
            sizes[0] > 1 << 20 && sizes.iter().all(|size| *size == sizes[0]),
            "{sizes:?}"
        );
    }
}

#[test]
fn the_demo_model_is_unpacked_once_and_repaired() {
    let cache = tempfile::tempdir().unwrap();
    for format in [DemoFormat::Int4, DemoFormat::Fp16] {
        let folder = unpack_demo(format, cache.path()).unwrap();
        assert!(folder.join("config.json").exists() && folder.join("vocab.json").exists());
        let config = folder.join("config.json");
        fs::write(&config, "damaged").unwrap();
        assert_eq!(unpack_demo(format, cache.path()).unwrap(), folder);
        assert!(fs::read_to_string(&config).unwrap().contains("n_embd"));
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        unpack_demo(DemoFormat::Int4, &file).unwrap_err(),
        HubError::Write { .. }
    ));
}
