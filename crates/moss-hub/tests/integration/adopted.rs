//! Complete and partial snapshots that other tools left in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{SIZE, download, settings};
use moss_hub::{Hub, ModelId, SearchPlaces, resolve};
use moss_testing::hub::{COMMIT, HubServer, ID, WEIGHTS, git_blob};

/// Creates the folder of the model in the cache, as huggingface_hub does.
fn python_cache(cache: &Path, organisation: &str) -> PathBuf {
    let model = cache.join(format!("models--{organisation}--moss-moon-003-sft-int4"));
    for folder in ["blobs", "refs", "snapshots"] {
        fs::create_dir_all(model.join(folder)).unwrap();
    }
    fs::create_dir(model.join("snapshots").join(COMMIT)).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    model
}

fn weights_hash(hub: &HubServer) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(hub.file(WEIGHTS))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(unix)]
#[test]
fn a_partial_snapshot_of_another_tool_is_completed_from_where_it_stopped() {
    for organisation in ["fnlp", "OpenMOSS-Team"] {
        for right in [true, false] {
            let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
            let model = python_cache(cache.path(), organisation);
            let (snapshot, blobs) = (model.join("snapshots").join(COMMIT), model.join("blobs"));
            let link = |name: &str, hash: &str| {
                std::os::unix::fs::symlink(format!("../../blobs/{hash}"), snapshot.join(name))
                    .unwrap();
            };
            // One file is complete, one link dangles, and half of the weights is missing.
            fs::write(
                blobs.join(git_blob(hub.file("config.json"))),
                hub.file("config.json"),
            )
            .unwrap();
            link("config.json", &git_blob(hub.file("config.json")));
            link("vocab.json", &git_blob(hub.file("vocab.json")));
            let mut half = hub.file(WEIGHTS)[..SIZE / 2].to_vec();
            half[7] ^= u8::from(!right);
            fs::write(
                blobs.join(format!("{}.incomplete", weights_hash(&hub))),
                half,
            )
            .unwrap();

            let client = Hub::new(settings(cache.path(), &hub)).unwrap();
            let plan = client.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
            assert_eq!(plan.folder, snapshot);
            let small: usize = ["vocab.json", "merges.txt", "added_tokens.json"]
                .map(|n| hub.file(n).len())
                .iter()
                .sum();
            assert_eq!(plan.bytes_missing() as usize, SIZE - SIZE / 2 + small);
            client.download(&plan, &|_| ()).unwrap();

            let expected = if right {
                SIZE - SIZE / 2
            } else {
                SIZE - SIZE / 2 + SIZE
            };
            assert_eq!(hub.sent(WEIGHTS), expected, "{organisation} {right}");
            assert_eq!(hub.sent("config.json"), 0);
            for name in ["config.json", "vocab.json", "merges.txt", WEIGHTS] {
                assert_eq!(
                    fs::read(snapshot.join(name)).unwrap(),
                    hub.file(name),
                    "{name}"
                );
            }
            let left: Vec<_> = fs::read_dir(&blobs)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left.len(), 5, "{left:?}");
            let places = SearchPlaces {
                current_dir: cache.path().join("none"),
                hub_cache: Some(cache.path().to_owned()),
            };
            assert_eq!(resolve(ID, &places).unwrap().folder, snapshot);
        }
    }
}

#[test]
fn files_that_another_tool_put_into_a_snapshot_itself_are_kept_if_they_are_right() {
    for right in [true, false] {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
        let snapshot = python_cache(cache.path(), "fnlp")
            .join("snapshots")
            .join(COMMIT);
        let mut weights = hub.file(WEIGHTS).to_vec();
        weights[SIZE / 3] ^= u8::from(!right);
        fs::write(snapshot.join(WEIGHTS), weights).unwrap();
        download(settings(cache.path(), &hub)).unwrap();
        assert_eq!(hub.sent(WEIGHTS), if right { 0 } else { SIZE });
        assert_eq!(fs::read(snapshot.join(WEIGHTS)).unwrap(), hub.file(WEIGHTS));
    }
}
