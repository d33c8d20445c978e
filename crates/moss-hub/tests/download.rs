//! Downloads from a hub that behaves, and from one that does not.
#![allow(clippy::unwrap_used)]

mod stand_in;
mod support;

use std::{
    fs,
    net::TcpListener,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use moss_hub::{
    DownloadEvent, Fault, Hub, HubError, HubSettings, ModelId, SearchPlaces, Source, resolve,
};
use stand_in::{COMMIT, ID, Manner, StandIn, WEIGHTS};
use support::{
    SIZE, assert_nothing_half_is_taken_for_whole, assert_whole, download, fault, fault_of, settings,
};

#[test]
fn only_what_the_engine_needs_comes_in_the_hubs_own_layout() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
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
        let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
        let mut state = seed * 7919 + 1;
        hub.behave(move |request| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            let length = request.range.as_ref().map_or(0, |range| range.len());
            match state >> 16 & 3 {
                0 => Manner::Honest,
                1 => Manner::Status(503, Some(0)),
                _ => Manner::Cut((state >> 8) as usize % (length + 1)),
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
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let mut calls = 0;
    hub.behave(move |request| {
        calls += usize::from(request.is_for(WEIGHTS));
        // Sent in 4096s: the third piece breaks off in the middle of one.
        if calls >= 3 && request.is_for(WEIGHTS) {
            Manner::Cut(if calls == 3 { 12_345 } else { 0 })
        } else {
            Manner::Honest
        }
    });
    let one = |cache: &Path| HubSettings {
        connections: 1,
        ..settings(cache, &hub)
    };
    download(one(cache.path())).unwrap_err();
    hub.take_requests();
    hub.behave(|_| Manner::Honest);
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
fn a_stall_is_noticed_and_mended_by_another_request() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let mut stalls = 2;
    hub.behave(move |request| {
        let stall = request.is_for(WEIGHTS) && stalls > 0;
        stalls -= usize::from(stall);
        if stall {
            Manner::Stall(10)
        } else {
            Manner::Honest
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
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(200_000));
    hub.behave(|request| {
        if request.is_for(WEIGHTS) {
            Manner::Throttle(60_000)
        } else {
            Manner::Honest
        }
    });
    let client = Hub::new(settings(cache.path(), &hub)).unwrap();
    let plan = client.plan(&ModelId::parse(ID).unwrap(), &|_| ()).unwrap();
    let no_retry = |event: DownloadEvent<'_>| {
        assert!(
            !matches!(event, DownloadEvent::Retrying { .. }),
            "{event:?}"
        );
    };
    client.download(&plan, &no_retry).unwrap(); // each piece takes three windows
    assert_whole(cache.path(), &hub);
}

#[test]
fn refusals_are_final_and_busy_hubs_are_asked_again() {
    for (status, tries) in [
        (401, 1),
        (403, 1),
        (404, 1),
        (416, 1),
        (429, 3),
        (500, 3),
        (503, 3),
    ] {
        let (error, asked) = fault_of(Manner::Status(status, Some(0)));
        assert!(
            matches!(fault(&error), Fault::Status { status: found, .. } if *found == status),
            "{error}"
        );
        assert_eq!(asked, tries, "{status}");
    }
}

#[test]
fn retry_after_is_kept_to() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(1000));
    let mut busy = true;
    hub.behave(move |_| {
        if std::mem::take(&mut busy) {
            Manner::Status(429, Some(1))
        } else {
            Manner::Honest
        }
    });
    let began = std::time::Instant::now();
    download(settings(cache.path(), &hub)).unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "the backoff alone is 5 ms"
    );
}

#[test]
fn answers_that_are_not_the_file_are_refused() {
    let (error, _) = fault_of(Manner::Html);
    assert!(matches!(fault(&error), Fault::Html));
    let (error, _) = fault_of(Manner::OtherRange);
    assert!(matches!(fault(&error), Fault::Range { .. }));
    let (error, _) = fault_of(Manner::OtherTotal(1));
    assert!(matches!(fault(&error), Fault::Range { .. }));
    let (error, _) = fault_of(Manner::NoRange);
    assert!(matches!(fault(&error), Fault::NoRanges));
    let (error, _) = fault_of(Manner::OtherEtag);
    assert!(matches!(fault(&error), Fault::Changed { .. }));
    let (error, _) = fault_of(Manner::Redirect("ftp://127.0.0.1/x".into()));
    assert!(matches!(fault(&error), Fault::RedirectTo(_)));
    let (error, asked) = fault_of(Manner::Redirect(format!("/x/{WEIGHTS}")));
    assert!(
        matches!(fault(&error), Fault::TooManyRedirects { .. }) && asked == 10,
        "{asked}"
    );
}

#[test]
fn content_range_with_an_unknown_total_and_headers_in_any_case_are_accepted() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    hub.behave(|_| Manner::Capitals);
    download(settings(cache.path(), &hub)).unwrap();
    assert_whole(cache.path(), &hub);
    assert_eq!(hub.sent(WEIGHTS), SIZE, "no byte comes twice");
}

#[test]
fn wrong_bytes_of_the_right_length_are_thrown_away() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    for victim in ["config.json", WEIGHTS] {
        hub.behave(move |request| {
            if request.is_for(victim) {
                Manner::Corrupt
            } else {
                Manner::Honest
            }
        });
        let error = download(settings(cache.path(), &hub)).unwrap_err();
        assert!(
            matches!(&error, HubError::Hash { file, .. } if file == victim),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("thrown away"));
        assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
    }
    hub.behave(|_| Manner::Honest);
    download(settings(cache.path(), &hub)).unwrap();
    assert_whole(cache.path(), &hub);
}

#[test]
fn a_listing_that_is_a_page_or_half_a_page_is_an_error() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(10));
    hub.behave(|_| Manner::Html);
    let error = download(settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(fault(&error), Fault::Html));
    hub.behave(|_| Manner::Status(404, None));
    let error = download(settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(fault(&error), Fault::Status { status: 404, .. }));
}

#[test]
fn the_token_stays_with_the_hub() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let storage = StandIn::with_weights(SIZE);
    let elsewhere = storage.address.clone();
    hub.behave(move |request| match &request.path {
        // The organisation was renamed: the hub redirects to itself.
        path if path.contains("fnlp/") => Manner::Redirect(path.replace("fnlp/", "OpenMOSS/")),
        path if path.starts_with("/api/") => Manner::Honest,
        path => Manner::Redirect(format!("{elsewhere}{path}?signature=secret")),
    });
    // A signed address has a query, which is not part of the name.
    storage.behave(|_| Manner::Status(404, None));
    let with_token = || HubSettings {
        token: Some("hf_secret".into()),
        ..settings(cache.path(), &hub)
    };
    let error = download(with_token()).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    hub.take_requests()
        .iter()
        .for_each(|r| assert_eq!(r.token.as_deref(), Some("Bearer hf_secret"), "{}", r.path));
    let there = storage.take_requests();
    assert!(!there.is_empty() && there.iter().all(|request| request.token.is_none()));
    let honest = storage.address.clone();
    hub.behave(move |request| match &request.path {
        path if path.starts_with("/api/") => Manner::Honest,
        path => Manner::Redirect(format!("{honest}{path}")),
    });
    storage.behave(|_| Manner::Honest);
    download(with_token()).unwrap();
    assert!(
        storage
            .take_requests()
            .iter()
            .all(|request| request.token.is_none())
    );
    assert_whole(cache.path(), &hub);
}

#[test]
fn an_expired_signature_is_renewed_at_the_hub() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let storage = StandIn::with_weights(SIZE);
    let elsewhere = storage.address.clone();
    hub.behave(move |request| match &request.path {
        path if path.starts_with("/api/") => Manner::Honest,
        path => Manner::Redirect(format!("{elsewhere}{path}")),
    });
    let mut calls = 0;
    storage.behave(move |_| {
        calls += 1;
        if calls % 3 == 0 {
            Manner::Status(403, None)
        } else {
            Manner::Honest
        }
    });
    download(HubSettings {
        connections: 1,
        ..settings(cache.path(), &hub)
    })
    .unwrap();
    assert_whole(cache.path(), &hub);
}

#[test]
fn offline_opens_no_socket() {
    let cache = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let settings = HubSettings {
        endpoint: Some(address),
        offline: true,
        ..HubSettings::new(cache.path().to_owned())
    };
    assert!(matches!(
        download(settings).unwrap_err(),
        HubError::Offline { .. }
    ));
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "nobody knocked"
    );
}

#[test]
fn a_proxy_is_asked_in_the_hubs_place() {
    let (cache, proxy) = (tempfile::tempdir().unwrap(), StandIn::with_weights(10));
    proxy.behave(|_| Manner::Status(404, None));
    let through = HubSettings {
        endpoint: Some("http://hub.invalid".into()),
        proxy: Some(proxy.address.clone()),
        ..settings(cache.path(), &proxy)
    };
    let error = download(through.clone()).unwrap_err();
    assert!(!proxy.take_requests().is_empty(), "{error}");
    for list in ["other.invalid, hub.invalid", "invalid", ".invalid", "*"] {
        let around = HubSettings {
            no_proxy: Some(list.into()),
            ..through.clone()
        };
        download(around).unwrap_err();
        assert!(proxy.take_requests().is_empty(), "{list}");
    }
}

#[test]
fn the_second_hub_speaks_its_own_language() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let there = HubSettings {
        source: Source::ModelScope,
        ..settings(cache.path(), &hub)
    };
    let folder = download(there).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), hub.file(WEIGHTS));
    assert!(hub.take_requests().iter().all(|request| {
        request
            .path
            .contains("AI-ModelScope/moss-moon-003-sft-int4")
    }));
    let places = SearchPlaces {
        current_dir: cache.path().join("none"),
        hub_cache: Some(cache.path().to_owned()),
    };
    assert_eq!(resolve(ID, &places).unwrap().folder, folder);
    let other = HubSettings {
        source: Source::HuggingFace,
        ..settings(cache.path(), &hub)
    };
    download(other).unwrap();
    assert_eq!(
        hub.sent(WEIGHTS),
        0,
        "the same bytes are not fetched from both"
    );
}

#[test]
fn a_journal_of_nonsense_costs_bytes_but_never_a_wrong_file() {
    for garbage in [
        &b"x"[..],
        &[0; 16],
        &[255; 64],
        &[1, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 7],
    ] {
        let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
        hub.behave(|request| {
            if request.is_for(WEIGHTS) {
                Manner::Cut(500)
            } else {
                Manner::Honest
            }
        });
        download(settings(cache.path(), &hub)).unwrap_err();
        hub.behave(|_| Manner::Honest);
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
fn a_disk_that_is_too_small_is_said_before_the_first_byte() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(10));
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

/// A model in two shards, with whatever else the listing has.
fn sharded(others: &[(&str, &str)]) -> StandIn {
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    let own = [
        ("config.json", "{}"),
        ("vocab.json", "{}"),
        ("merges.txt", ""),
        ("pytorch_model.bin.index.json", index),
        ("pytorch_model-00001-of-00002.bin", "first"),
    ];
    let file = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    StandIn::serve(own.iter().chain(others).map(file).collect())
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
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "config.json",
        "merges.txt",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model-00002-of-00002.bin",
        "pytorch_model.bin.index.json",
        "vocab.json",
    ];
    assert_eq!(names, expected);
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
