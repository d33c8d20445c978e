//! Networks that are no network: captive portals, refused and silent connections.
#![allow(clippy::unwrap_used)]

mod stand_in;
mod support;

use std::{net::TcpListener, path::Path, time::Duration};

use moss_hub::{Fault, HubError, HubSettings, Patience};
use stand_in::{Manner, StandIn, WEIGHTS};
use support::{SIZE, assert_nothing_half_is_taken_for_whole, download, fault, settings};

/// With the time limits of the program itself.
fn patient(cache: &Path, hub: &StandIn) -> HubSettings {
    HubSettings {
        patience: Patience::default(),
        ..settings(cache, hub)
    }
}

#[test]
fn a_captive_portal_ends_a_download_within_seconds_and_is_told_as_one() {
    let portal = StandIn::with_weights(10);
    portal.behave(|_| Manner::Html);
    let pages = [
        Manner::Html,
        Manner::Page(None),
        Manner::Page(Some("TEXT/HTML")),
        Manner::Page(Some("text/plain")),
        Manner::Redirect(format!("{}/login", portal.address)),
        Manner::Status(511, None),
    ];
    for page in pages {
        for victim in ["main", "config.json", WEIGHTS] {
            let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(40));
            let shown = page.clone();
            hub.behave(move |request| {
                let path = request.path.split('?').next().unwrap();
                if path.ends_with(victim) {
                    shown.clone()
                } else {
                    Manner::Honest
                }
            });
            let began = std::time::Instant::now();
            let error = download(patient(cache.path(), &hub)).unwrap_err();
            assert!(
                began.elapsed() < Duration::from_secs(5),
                "{page:?}: {error}"
            );
            // A file's page of another length than the file may be told by its length.
            let is_portal = match fault(&error) {
                Fault::Html | Fault::Status { status: 511, .. } => {
                    error.hint().unwrap().contains("log in")
                }
                Fault::Length { .. } => victim != "main" && matches!(page, Manner::Page(_)),
                _ => false,
            };
            assert!(is_portal, "{page:?} {victim}: {error:?}");
            assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
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
        let began = std::time::Instant::now();
        let error = download(settings).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(8), "{error}");
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
    let hub = StandIn::with_weights(10);
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
fn storage_that_the_hub_names_and_nobody_can_reach_is_given_up_within_seconds() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), StandIn::with_weights(SIZE));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    hub.behave(move |request| match request.is_for(WEIGHTS) {
        true => Manner::Redirect(format!("http://{closed}/x")),
        false => Manner::Honest,
    });
    let began = std::time::Instant::now();
    let error = download(patient(cache.path(), &hub)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(8), "{error}");
    assert!(
        matches!(fault(&error), Fault::Unreachable { .. }),
        "{error:?}"
    );
}
