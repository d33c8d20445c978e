//! Downloads of the test hub's model, and what must be true of the cache afterwards.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use moss_hub::{Fault, Hub, HubError, HubSettings, ModelId, SearchPlaces, Timeouts, resolve};

use moss_testing::hub::{Behavior, COMMIT, HubServer, ID, WEIGHTS, git_blob};

pub(crate) const SIZE: usize = 1_000_003;

pub(crate) fn settings(cache: &Path, hub: &HubServer) -> HubSettings {
    let timeouts = Timeouts {
        window: Duration::from_secs(1),
        min_rate: 1024,
        attempts: 3,
        backoff: Duration::from_millis(5),
    };
    HubSettings {
        endpoint: Some(hub.address.clone()),
        piece_bytes: 100_000,
        timeouts,
        ..HubSettings::new(cache.to_owned())
    }
}

pub(crate) fn download(settings: HubSettings) -> Result<PathBuf, HubError> {
    let hub = Hub::new(settings)?;
    let plan = hub.plan(&ModelId::parse(ID)?, &|_| ())?;
    hub.download(&plan, &|_| ())
}

/// Checks that every file with a final name is complete: blobs, and the targets of snapshots.
pub(crate) fn assert_nothing_half_is_taken_for_whole(cache: &Path, hub: &HubServer) {
    let model = cache.join("models--fnlp--moss-moon-003-sft-int4");
    for entry in fs::read_dir(model.join("blobs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().into_string().unwrap();
        if !name.contains(".moss-") {
            let found = fs::read(entry.path()).unwrap();
            let is_right = if name.len() == 40 {
                git_blob(&found) == name
            } else {
                found == hub.file(WEIGHTS)
            };
            assert!(is_right, "{name}");
        }
    }
    for entry in fs::read_dir(model.join("snapshots").join(COMMIT))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(fs::read(entry.path()).unwrap(), hub.file(&name), "{name}");
    }
    let places = SearchPlaces {
        current_dir: cache.join("none"),
        hub_cache: Some(cache.to_owned()),
    };
    if let Ok(found) = resolve(ID, &places) {
        assert_eq!(
            fs::read(found.folder.join(WEIGHTS)).unwrap(),
            hub.file(WEIGHTS)
        );
    }
}

pub(crate) fn assert_whole(cache: &Path, hub: &HubServer) {
    assert_nothing_half_is_taken_for_whole(cache, hub);
    let places = SearchPlaces {
        current_dir: cache.join("none"),
        hub_cache: Some(cache.to_owned()),
    };
    let folder = resolve(ID, &places).unwrap().folder;
    for name in [
        "config.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        WEIGHTS,
    ] {
        assert_eq!(
            fs::read(folder.join(name)).unwrap(),
            hub.file(name),
            "{name}"
        );
    }
    let left = fs::read_dir(folder.join("../../blobs")).unwrap().flatten();
    let left: Vec<_> = left
        .map(|e| e.file_name())
        .filter(|n| n.to_string_lossy().contains(".moss-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Returns the error of a download with this behavior for the weights, and the number of requests.
pub(crate) fn fault_of(behavior: Behavior) -> (HubError, usize) {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    hub.behave_for(WEIGHTS, behavior);
    let error = download(HubSettings {
        connections: 1,
        ..settings(cache.path(), &hub)
    })
    .unwrap_err();
    assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
    let requests = hub.take_requests();
    let tries = requests.iter().filter(|request| request.is_for(WEIGHTS));
    let tries = tries.count();
    (error, tries)
}

pub(crate) fn fault(error: &HubError) -> &Fault {
    match error {
        HubError::Transfer {
            fault, url, file, ..
        } => {
            assert!(
                url.contains("127.0.0.1") && error.to_string().contains(url.as_str()),
                "{error}"
            );
            assert!(error.to_string().contains(&file.to_string()), "{error}");
            let hint = error.hint().unwrap();
            assert!(
                hint.contains("HF_ENDPOINT") && hint.contains("./fnlp/NAME"),
                "{hint}"
            );
            fault
        }
        other => panic!("{other}"),
    }
}
