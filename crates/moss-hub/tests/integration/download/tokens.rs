//! The hosts that are contacted, and those that get the token.

use std::{fs, net::TcpListener};

use moss_hub::{HubError, HubSettings, SearchPlaces, Source, resolve};
use moss_testing::hub::{Behavior, HubServer, ID, WEIGHTS};

use crate::support::{SIZE, assert_whole, download, settings};

#[test]
fn the_token_stays_with_the_hub() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let storage = HubServer::with_weights(SIZE);
    let elsewhere = storage.address.clone();
    hub.behave(move |request| match &request.path {
        // The organisation was renamed: the hub redirects to itself.
        path if path.contains("fnlp/") => Behavior::Redirect(path.replace("fnlp/", "OpenMOSS/")),
        path if path.starts_with("/api/") => Behavior::Normal,
        path => Behavior::Redirect(format!("{elsewhere}{path}?signature=secret")),
    });
    // The query of a signed address is not part of the file name.
    storage.behave(|_| Behavior::Status(404, None));
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
        path if path.starts_with("/api/") => Behavior::Normal,
        path => Behavior::Redirect(format!("{honest}{path}")),
    });
    storage.behave(|_| Behavior::Normal);
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
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    let storage = HubServer::with_weights(SIZE);
    let elsewhere = storage.address.clone();
    hub.behave(move |request| match &request.path {
        path if path.starts_with("/api/") => Behavior::Normal,
        path => Behavior::Redirect(format!("{elsewhere}{path}")),
    });
    let mut calls = 0;
    storage.behave(move |_| {
        calls += 1;
        if calls % 3 == 0 {
            Behavior::Status(403, None)
        } else {
            Behavior::Normal
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
        "a connection was opened"
    );
}

#[test]
fn a_proxy_is_asked_in_the_hubs_place() {
    let (cache, proxy) = (tempfile::tempdir().unwrap(), HubServer::with_weights(10));
    proxy.behave(|_| Behavior::Status(404, None));
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
fn modelscope_downloads_go_through_its_own_interface() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
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
