//! Verification of the cached files by their hashes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use moss_hub::{Damage, Hub, HubError, HubSettings, ModelId, Verification};
use moss_testing::hub::{COMMIT, HubServer, ID, WEIGHTS, git_blob};

const SIZE: usize = 100_003;

struct Cached {
    cache: tempfile::TempDir,
    hub: HubServer,
    client: Hub,
    id: ModelId,
}

impl Cached {
    fn new() -> Self {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
        let settings = HubSettings {
            endpoint: Some(hub.address.clone()),
            ..HubSettings::new(cache.path().to_owned())
        };
        let cached = Self {
            cache,
            hub,
            client: Hub::new(settings).unwrap(),
            id: ModelId::parse(ID).unwrap(),
        };
        cached.download();
        cached
    }

    fn download(&self) {
        let plan = self.client.plan(&self.id, &|_| ()).unwrap();
        self.client.download(&plan, &|_| ()).unwrap();
    }

    fn verify(&self, online: bool) -> Verification {
        let plan = online.then(|| self.client.plan(&self.id, &|_| ()).unwrap());
        self.client
            .verify(&self.id, plan.as_ref(), &|_| ())
            .unwrap()
    }

    fn model(&self) -> PathBuf {
        self.cache
            .path()
            .join("models--fnlp--moss-moon-003-sft-int4")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.model().join("snapshots").join(COMMIT).join(name)
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_cache_as_it_was_downloaded_is_whole() {
    let cached = Cached::new();
    for online in [true, false] {
        let found = cached.verify(online);
        assert!(
            found.damaged.is_empty() && found.unchecked.is_empty(),
            "{found:?}"
        );
        assert_eq!(found.files, 5);
        assert!(found.bytes > SIZE as u64);
        assert_eq!(found.folder, cached.file(""), "{online}");
    }
}

#[test]
fn a_flipped_bit_is_named_with_both_hashes_and_only_that_file_comes_again() {
    for victim in [WEIGHTS, "config.json"] {
        let cached = Cached::new();
        flip(&cached.file(victim));
        for online in [true, false] {
            let found = cached.verify(online);
            assert_eq!(found.damaged.len(), 1, "{found:?}");
            assert_eq!(found.damaged[0].name, victim);
            let Damage::Hash { found, expected } = &found.damaged[0].damage else {
                panic!("{found:?}")
            };
            assert_ne!(found, expected);
            if victim == "config.json" {
                assert_eq!(*expected, git_blob(cached.hub.file(victim)));
            }
        }
        let found = cached.verify(true);
        cached.client.remove_damaged(&cached.id, &found).unwrap();
        assert!(
            fs::symlink_metadata(cached.file(victim)).is_err(),
            "nothing leads to it"
        );
        cached.hub.take_requests();
        cached.download();
        let asked = cached.hub.take_requests();
        assert!(
            asked[1..].iter().all(|request| request.is_for(victim)) && asked.len() > 1,
            "{asked:?}"
        );
        assert!(cached.verify(true).damaged.is_empty());
        assert_eq!(
            fs::read(cached.file(victim)).unwrap(),
            cached.hub.file(victim)
        );
    }
}

#[test]
fn files_that_are_cut_off_or_missing_are_found() {
    let cached = Cached::new();
    let weights = fs::canonicalize(cached.file(WEIGHTS)).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&weights)
        .unwrap()
        .set_len(1000)
        .unwrap();
    fs::remove_file(fs::canonicalize(cached.file("vocab.json")).unwrap()).unwrap();
    let found = cached.verify(true);
    let of = |name: &str| {
        &found
            .damaged
            .iter()
            .find(|file| file.name == name)
            .unwrap()
            .damage
    };
    assert!(
        matches!(of(WEIGHTS), Damage::Length { found: 1000, expected } if *expected == SIZE as u64)
    );
    assert!(matches!(of("vocab.json"), Damage::Missing));
    assert_eq!(found.damaged.len(), 2);
    // Without the listing, only the hash is known.
    let found = cached.verify(false);
    assert_eq!(found.damaged.len(), 2);
    cached.client.remove_damaged(&cached.id, &found).unwrap();
    cached.download();
    assert!(cached.verify(false).damaged.is_empty());
    // A file of the listing that the snapshot lacks.
    fs::remove_file(cached.file("merges.txt")).unwrap();
    assert!(cached.verify(false).damaged.is_empty());
    let found = cached.verify(true);
    assert!(
        matches!(&found.damaged[..], [file] if file.name == "merges.txt"),
        "{found:?}"
    );
}

#[test]
fn copies_in_a_snapshot_are_hashed_too() {
    let cached = Cached::new();
    for name in [WEIGHTS, "config.json"] {
        let bytes = fs::read(cached.file(name)).unwrap();
        fs::remove_file(cached.file(name)).unwrap();
        fs::write(cached.file(name), bytes).unwrap();
    }
    assert!(cached.verify(true).damaged.is_empty() && cached.verify(false).damaged.is_empty());
    flip(&cached.file(WEIGHTS));
    for online in [true, false] {
        let found = cached.verify(online);
        assert!(
            matches!(&found.damaged[..], [file] if file.path == cached.file(WEIGHTS)),
            "{found:?}"
        );
    }
}

#[test]
fn unfinished_files_are_not_damaged_ones() {
    let cached = Cached::new();
    let blobs = cached.model().join("blobs");
    for name in ["abc.incomplete", "def.moss-part", "def.moss-journal"] {
        fs::write(blobs.join(name), "x").unwrap();
    }
    assert!(cached.verify(true).damaged.is_empty());
}

#[test]
fn a_model_that_is_not_in_the_cache_is_not_found() {
    let cached = Cached::new();
    let other = ModelId::parse("fnlp/moss-moon-003-sft").unwrap();
    let error = cached.client.verify(&other, None, &|_| ()).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
}

/// Replaces a file of the snapshot by a link.
#[cfg(unix)]
fn relink(cached: &Cached, name: &str, target: &Path) {
    fs::remove_file(cached.file(name)).unwrap();
    std::os::unix::fs::symlink(target, cached.file(name)).unwrap();
}

#[cfg(unix)]
fn is_damaged(found: &Verification, name: &str, path: &Path) -> bool {
    matches!(&found.damaged[..], [file] if file.name == name && file.path == path)
}

#[cfg(unix)]
#[test]
fn a_link_to_a_damaged_file_outside_the_blobs_is_found_and_replaced() {
    for inside in [false, true] {
        let cached = Cached::new();
        let elsewhere = tempfile::tempdir().unwrap();
        // Outside the cache, or among the blobs with a name that is not a hash.
        let copy = if inside {
            cached.model().join("blobs/etag-1")
        } else {
            elsewhere.path().join(WEIGHTS)
        };
        fs::copy(cached.file(WEIGHTS), &copy).unwrap();
        relink(&cached, WEIGHTS, &copy);
        for online in [true, false] {
            let found = cached.verify(online);
            assert!(found.damaged.is_empty() && found.unchecked.is_empty());
        }
        flip(&copy);
        for online in [true, false] {
            let found = cached.verify(online);
            assert!(
                is_damaged(&found, WEIGHTS, &cached.file(WEIGHTS)),
                "{found:?}"
            );
        }
        // Without the listing, the expected hash of a blob of another length is unknown.
        fs::write(&copy, "x").unwrap();
        assert_eq!(cached.verify(false).unchecked, [cached.file(WEIGHTS)]);
        let found = cached.verify(true);
        assert!(matches!(
            found.damaged[0].damage,
            Damage::Length { found: 1, .. }
        ));
        cached.client.remove_damaged(&cached.id, &found).unwrap();
        assert!(copy.exists(), "only the link to it is removed");
        cached.download();
        assert!(cached.verify(true).damaged.is_empty());
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_the_blob_of_another_file_is_found() {
    let cached = Cached::new();
    let other = fs::canonicalize(cached.file("vocab.json")).unwrap();
    relink(&cached, "config.json", &other);
    let found = cached.verify(true);
    assert!(is_damaged(
        &found,
        "config.json",
        &cached.file("config.json")
    ));
    // Without the listing, it is unknown which of the two names is right.
    let found = cached.verify(false);
    assert_eq!(
        found.unchecked,
        [cached.file("config.json"), cached.file("vocab.json")]
    );
}

#[cfg(unix)]
#[test]
fn folders_and_pipes_in_place_of_files_are_found_without_waiting() {
    let pipe = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    for is_blob in [true, false] {
        for is_pipe in [true, false] {
            let cached = Cached::new();
            let name = cached.file("config.json");
            let path = if is_blob {
                let blob = fs::read_link(&name).unwrap();
                cached.model().join("blobs").join(blob.file_name().unwrap())
            } else {
                name
            };
            fs::remove_file(&path).unwrap();
            if is_pipe {
                pipe(&path);
            } else {
                fs::create_dir(&path).unwrap();
            }
            for online in [true, false] {
                let found = cached.verify(online);
                assert!(is_damaged(&found, "config.json", &path), "{found:?}");
                assert!(matches!(found.damaged[0].damage, Damage::NotAFile));
            }
            let found = cached.verify(true);
            cached.client.remove_damaged(&cached.id, &found).unwrap();
            cached.download();
            assert!(cached.verify(true).damaged.is_empty());
        }
    }
}
