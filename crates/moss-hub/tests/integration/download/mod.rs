//! Downloads from hubs that work, fail, stall and send wrong lengths.

mod listings;
mod refusals;
mod tokens;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use moss_hub::{DownloadEvent, Fault, Hub, HubError, HubSettings, ModelId};
use moss_testing::hub::{Behavior, COMMIT, HubServer, ID, WEIGHTS};

use crate::support::{
    SIZE, assert_nothing_half_is_taken_for_whole, assert_whole, download, fault, settings,
};

#[test]
fn only_what_the_engine_needs_comes_in_the_hubs_own_layout() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let folder = download(settings(cache.path(), &hub)).unwrap();
    assert_whole(cache.path(), &hub);
    assert_eq!(
        folder,
        cache
            .path()
            .join("models--fnlp--moss-moon-003-sft-int4/snapshots")
            .join(COMMIT)
    );
    assert!(!folder.join("README.md").exists() && !folder.join("model.py").exists());
    let main = cache
        .path()
        .join("models--fnlp--moss-moon-003-sft-int4/refs/main");
    assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
    #[cfg(unix)]
    assert!(
        fs::symlink_metadata(folder.join(WEIGHTS))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(hub.sent(WEIGHTS), SIZE, "no byte comes twice");
    hub.take_requests();
    download(settings(cache.path(), &hub)).unwrap();
    let asked: Vec<_> = hub
        .take_requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(
        asked.len(),
        1,
        "the second time the listing alone is asked for: {asked:?}"
    );
}

#[test]
fn connections_cut_at_any_byte_lose_nothing_and_leave_nothing_half() {
    for seed in 0..25_u64 {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
        let mut state = seed * 7919 + 1;
        hub.behave(move |request| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            let length = request.range.as_ref().map_or(0, |range| range.len());
            match state >> 16 & 3 {
                0 => Behavior::Normal,
                1 => Behavior::Status(503, Some(0)),
                _ => Behavior::Truncate((state >> 8) as usize % (length + 1)),
            }
        });
        let runs = (1..200).find(|_| {
            let result = download(settings(cache.path(), &hub));
            assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
            if let Err(error) = &result {
                fault(error);
            }
            result.is_ok()
        });
        assert!(runs.is_some(), "seed {seed}");
        assert_whole(cache.path(), &hub);
    }
}

#[test]
fn a_second_run_asks_only_for_what_is_missing() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let mut calls = 0;
    hub.behave(move |request| {
        calls += usize::from(request.is_for(WEIGHTS));
        // The third piece ends in the middle of a write of 4096 bytes.
        if calls >= 3 && request.is_for(WEIGHTS) {
            Behavior::Truncate(if calls == 3 { 12_345 } else { 0 })
        } else {
            Behavior::Normal
        }
    });
    let one = |cache: &Path| HubSettings {
        connections: 1,
        ..settings(cache, &hub)
    };
    download(one(cache.path())).unwrap_err();
    hub.take_requests();
    hub.behave(|_| Behavior::Normal);
    let again = Hub::new(one(cache.path())).unwrap();
    let plan = again.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
    assert_eq!(plan.bytes_missing() as usize, SIZE - 212_345);
    again.download(&plan, &|_| ()).unwrap();
    let requests = hub.take_requests();
    let first = requests
        .iter()
        .find(|request| request.is_for(WEIGHTS))
        .unwrap();
    assert_eq!(first.range.as_ref().unwrap().start, 212_345);
    assert_eq!(
        requests
            .iter()
            .filter(|r| r.is_for(WEIGHTS))
            .map(|r| r.sent)
            .sum::<usize>(),
        SIZE - 212_345
    );
    assert_whole(cache.path(), &hub);
}

#[test]
fn a_stall_is_noticed_and_another_request_is_sent() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let mut stalls = 2;
    hub.behave(move |request| {
        let stall = request.is_for(WEIGHTS) && stalls > 0;
        stalls -= usize::from(stall);
        if stall {
            Behavior::Stall(10)
        } else {
            Behavior::Normal
        }
    });
    let retries = AtomicUsize::new(0);
    let client = Hub::new(settings(cache.path(), &hub)).unwrap();
    let plan = client.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
    let count = |event: DownloadEvent<'_>| {
        if let DownloadEvent::Retrying {
            fault: Fault::Stalled { bytes: 10, .. },
            ..
        } = event
        {
            retries.fetch_add(1, Ordering::Relaxed);
        }
    };
    client.download(&plan, &count).unwrap();
    assert_eq!(retries.into_inner(), 2);
    assert_whole(cache.path(), &hub);
}

#[test]
fn a_slow_hub_that_moves_is_not_a_stall() {
    let (cache, hub) = (
        tempfile::tempdir().unwrap(),
        HubServer::with_weights(200_000),
    );
    hub.behave_for(WEIGHTS, Behavior::Throttle(30_000));
    let client = Hub::new(settings(cache.path(), &hub)).unwrap();
    let plan = client.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
    let no_retry = |event: DownloadEvent<'_>| {
        assert!(
            !matches!(event, DownloadEvent::Retrying { .. }),
            "{event:?}"
        );
    };
    client.download(&plan, &no_retry).unwrap(); // each part takes three times the stall time
    assert_whole(cache.path(), &hub);
}

#[test]
fn content_range_with_an_unknown_total_and_headers_in_any_case_are_accepted() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    hub.behave(|_| Behavior::Capitals);
    download(settings(cache.path(), &hub)).unwrap();
    assert_whole(cache.path(), &hub);
    assert_eq!(hub.sent(WEIGHTS), SIZE, "no byte comes twice");
}

#[test]
fn an_invalid_journal_costs_bytes_but_never_gives_a_wrong_file() {
    for garbage in [
        &b"x"[..],
        &[0; 16],
        &[255; 64],
        &[1, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 7],
    ] {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
        hub.behave_for(WEIGHTS, Behavior::Truncate(500));
        download(settings(cache.path(), &hub)).unwrap_err();
        hub.behave(|_| Behavior::Normal);
        let blobs = cache
            .path()
            .join("models--fnlp--moss-moon-003-sft-int4/blobs");
        let journals = fs::read_dir(blobs)
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let journal = journals
            .into_iter()
            .find(|path| path.to_string_lossy().ends_with(".moss-journal"))
            .unwrap();
        fs::write(journal, garbage).unwrap();
        if let Err(error) = download(settings(cache.path(), &hub)) {
            assert!(matches!(error, HubError::Hash { .. }), "{error}");
            assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
            download(settings(cache.path(), &hub)).unwrap();
        }
        assert_whole(cache.path(), &hub);
    }
}

#[test]
fn a_disk_that_is_too_small_is_an_error_before_the_first_byte() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(10));
    let client = Hub::new(settings(cache.path(), &hub)).unwrap();
    let mut plan = client.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
    hub.take_requests();
    plan.files.last_mut().unwrap().bytes = 1 << 60;
    let error = client.download(&plan, &|_| ()).unwrap_err();
    assert!(
        matches!(error, HubError::Space { needed, .. } if needed >= 1 << 59),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("HF_HUB_CACHE") && hub.take_requests().is_empty());
}
