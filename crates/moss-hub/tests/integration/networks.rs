//! Broken networks: captive portals, refused connections, and hosts that do not answer.

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{
    SIZE, assert_nothing_half_is_taken_for_whole, assert_whole, download, fault, settings,
};
use moss_hub::{Fault, HubError, HubSettings, Source, Timeouts};
use moss_messages::Language;
use moss_testing::hub::{Behavior, HubServer, WEIGHTS};

/// "Within seconds", with a margin for a busy machine. Retries and `Retry-After` would take
/// minutes.
const SECONDS: Duration = Duration::from_secs(30);

/// Settings with the default time limits.
fn patient(cache: &Path, hub: &HubServer) -> HubSettings {
    HubSettings {
        timeouts: Timeouts::default(),
        ..settings(cache, hub)
    }
}

#[test]
fn a_captive_portal_ends_a_download_within_seconds_and_is_named() {
    let portal = HubServer::with_weights(10);
    portal.behave(|_| Behavior::Html);
    let pages = [
        Behavior::Html,
        Behavior::Page(None),
        Behavior::Page(Some("TEXT/HTML")),
        Behavior::Page(Some("text/plain")),
        Behavior::Redirect(format!("{}/login", portal.address)),
        Behavior::Redirect(String::new()), // a redirect loop
        Behavior::Status(511, None),
        Behavior::Status(204, None),
        Behavior::Status(403, None),
        Behavior::StatusPage(401, None),
        Behavior::StatusPage(503, Some(300)),
        Behavior::StatusPage(302, None), // without an address
    ];
    for page in pages {
        for victim in ["main", "config.json", WEIGHTS] {
            let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(40));
            let shown = page.clone();
            hub.behave(move |request| {
                let path = request.path.split('?').next().unwrap();
                if path.ends_with(victim) {
                    shown.clone()
                } else {
                    Behavior::Normal
                }
            });
            let start = Instant::now();
            let error = download(patient(cache.path(), &hub)).unwrap_err();
            assert!(start.elapsed() < SECONDS, "{page:?}: {error}");
            let is_page = matches!(page, Behavior::Html | Behavior::Page(_));
            assert!(
                matches!(fault(&error), Fault::Html) || !is_page,
                "{page:?} {victim}: {error:?}"
            );
            let zh = moss_messages::hint(Language::Zh, &error).unwrap();
            let hint = error.hint().unwrap();
            assert!(
                hint.contains("log in") && zh.contains("登录"),
                "{page:?} {victim}: {hint}"
            );
            assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
        }
    }
}

#[test]
fn the_hint_for_wrong_bytes_names_a_login_page_as_a_cause() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(40));
    hub.behave(|_| Behavior::Corrupt);
    let error = download(patient(cache.path(), &hub)).unwrap_err();
    assert!(matches!(error, HubError::Hash { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("log in"));
}

#[test]
fn a_listing_that_stalls_or_trickles_is_given_up_within_seconds() {
    let fails = |behavior: Behavior| {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(40));
        hub.behave(move |_| behavior.clone());
        let start = Instant::now();
        let error = download(patient(cache.path(), &hub)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(40), "{error}");
        assert!(
            matches!(fault(&error), Fault::Unreachable { .. }),
            "{error:?}"
        );
    };
    std::thread::scope(|scope| {
        for manner in [
            Behavior::Stall(0),
            Behavior::Stall(20),
            Behavior::Throttle(1),
        ] {
            scope.spawn(|| fails(manner));
        }
    });
}

#[test]
fn a_hub_that_asks_for_minutes_of_patience_for_a_listing_is_given_up_at_once() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(40));
    hub.behave(|_| Behavior::Status(503, Some(300)));
    let start = Instant::now();
    let error = download(patient(cache.path(), &hub)).unwrap_err();
    assert!(start.elapsed() < SECONDS, "{error}");
    assert!(matches!(fault(&error), Fault::Status { status: 503, .. }));
}

#[test]
fn a_gateways_page_in_the_middle_of_a_file_does_not_end_it() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let mut calls = 0;
    hub.behave(move |request| {
        calls += usize::from(request.is_for(WEIGHTS));
        match calls {
            4..=6 if request.is_for(WEIGHTS) => Behavior::StatusPage(502, None),
            _ => Behavior::Normal,
        }
    });
    download(HubSettings {
        connections: 1,
        timeouts: Timeouts {
            attempts: 5,
            ..settings(cache.path(), &hub).timeouts
        },
        ..settings(cache.path(), &hub)
    })
    .unwrap();
    assert_whole(cache.path(), &hub);
}

#[test]
fn lengths_that_a_listing_lacks_are_requested() {
    for source in [Source::HuggingFace, Source::ModelScope] {
        let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
        hub.behave(|_| Behavior::NoLengths);
        let folder = download(HubSettings {
            source,
            ..settings(cache.path(), &hub)
        })
        .unwrap();
        for name in ["config.json", WEIGHTS] {
            assert_eq!(
                std::fs::read(folder.join(name)).unwrap(),
                hub.file(name),
                "{source:?} {name}"
            );
        }
    }
}

#[test]
fn without_a_network_the_failure_comes_within_seconds_and_mentions_the_demo() {
    let cache = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for address in [
        format!("http://{closed}"),
        format!("https://{closed}"),
        "https://hub.invalid".into(),
    ] {
        let settings = HubSettings {
            endpoint: Some(address.clone()),
            ..HubSettings::new(cache.path().to_owned())
        };
        let start = Instant::now();
        let error = download(settings).unwrap_err();
        assert!(start.elapsed() < SECONDS, "{error}");
        let HubError::Transfer {
            fault: Fault::Unreachable { host, .. },
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(address.contains(host.as_str()), "{host}");
        let [hint, zh] = moss_messages::Language::ALL
            .map(|language| moss_messages::hint(language, &error).unwrap());
        assert!(
            hint.contains("--demo") && hint.contains("HTTPS_PROXY") && zh.contains("--demo"),
            "{hint}"
        );
    }
}

#[test]
fn a_hub_that_accepts_connections_and_never_answers_is_asked_twice() {
    let cache = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = HubServer::with_weights(10);
    let endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    let error = download(HubSettings {
        endpoint,
        ..settings(cache.path(), &hub)
    })
    .unwrap_err();
    let HubError::Transfer {
        fault: Fault::Unreachable { reason, .. },
        attempts: 2,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(*reason, moss_hub::UnreachableReason::NoAnswer);
}

#[test]
fn storage_that_cannot_be_reached_is_given_up_within_seconds() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    hub.behave_for(WEIGHTS, Behavior::Redirect(format!("http://{closed}/x")));
    let start = Instant::now();
    let error = download(patient(cache.path(), &hub)).unwrap_err();
    assert!(start.elapsed() < SECONDS, "{error}");
    assert!(
        matches!(fault(&error), Fault::Unreachable { .. }),
        "{error:?}"
    );
}
