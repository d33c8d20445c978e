//! Names in listings, and models in several files.

use std::fs;

use moss_hub::{HubError, ModelId, SearchPlaces, resolve};
use moss_testing::{
    file_names,
    hub::{HubServer, ID},
};

use crate::support::{download, settings};

/// Serves a model in two shards, and further files.
fn sharded(others: &[(&str, &str)]) -> HubServer {
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    let own = [
        ("config.json", "{}"),
        ("vocab.json", "{}"),
        ("merges.txt", ""),
        ("pytorch_model.bin.index.json", index),
        ("pytorch_model-00001-of-00002.bin", "first"),
    ];
    let file = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    HubServer::serve(own.iter().chain(others).map(file).collect())
}

#[test]
fn names_in_a_listing_cannot_leave_the_cache() {
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("a/b/c");
    let hub = sharded(&[
        ("pytorch_model-00002-of-00002.bin", "second"),
        ("../config.json", "x"),
        ("../../../escaped.json", "x"),
        ("/absolute/config.json", "x"),
        ("C:\\config.json", "x"),
        ("pytorch_model-/../../../escaped.bin", "x"),
        ("pytorch_model-..\\escaped.bin", "x"),
        ("pytorch_model-\0.bin", "x"),
        ("config.json\0", "x"),
        ("sub/vocab.json", "x"),
    ]);
    let folder = download(settings(&cache, &hub)).unwrap();
    let expected = [
        "config.json",
        "merges.txt",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
        "vocab.json",
    ];
    assert_eq!(file_names(&folder), expected);
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}");
    let beside: Vec<_> = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(
        beside.len(),
        2,
        "the model's folder and the locks': {beside:?}"
    );
}

#[test]
fn a_listing_without_a_shard_that_the_index_names_is_incomplete() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), sharded(&[]));
    let error = download(settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(error, HubError::Incomplete { .. }), "{error}");
    let places = SearchPlaces {
        current_dir: cache.path().join("none"),
        hub_cache: Some(cache.path().to_owned()),
    };
    assert!(resolve(ID, &places).is_err());
}

#[test]
fn names_that_could_leave_the_cache_are_refused() {
    for id in [
        "", "a", "../x", "a/..", "a/b/c", "a/b?c", "a b/c", ".a/b", "a/.b", "a/b..c", "fnlp/",
    ] {
        assert!(
            matches!(ModelId::parse(id), Err(HubError::BadId { .. })),
            "{id}"
        );
    }
    assert_eq!(
        ModelId::parse("moss-moon-003-sft").unwrap().to_string(),
        "fnlp/moss-moon-003-sft"
    );
}

#[test]
fn shards_without_their_siblings_are_not_a_model() {
    let root = tempfile::tempdir().unwrap();
    let snapshot = root
        .path()
        .join("models--fnlp--moss-moon-003-sft/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    fs::write(snapshot.join("pytorch_model.bin.index.json"), index).unwrap();
    let places = SearchPlaces {
        current_dir: root.path().join("none"),
        hub_cache: Some(root.path().to_owned()),
    };
    fs::write(snapshot.join("pytorch_model-00001-of-00002.bin"), "x").unwrap();
    assert!(resolve("moss-moon-003-sft", &places).is_err());
    fs::write(snapshot.join("pytorch_model-00002-of-00002.bin"), "x").unwrap();
    assert_eq!(
        resolve("moss-moon-003-sft", &places).unwrap().folder,
        snapshot
    );
}
