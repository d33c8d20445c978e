//! Responses that are not the file: errors, login pages, wrong bytes.

use std::time::Duration;

use moss_hub::{Fault, HubError};
use moss_testing::hub::{Behavior, HubServer, WEIGHTS};

use crate::support::{
    SIZE, assert_nothing_half_is_taken_for_whole, assert_whole, download, fault, fault_of, settings,
};

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
        let (error, asked) = fault_of(Behavior::Status(status, Some(0)));
        assert!(
            matches!(fault(&error), Fault::Status { status: found, .. } if *found == status),
            "{error}"
        );
        assert_eq!(asked, tries, "{status}");
    }
}

#[test]
fn retry_after_is_kept_to() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(1000));
    let mut busy = true;
    hub.behave(move |_| {
        if std::mem::take(&mut busy) {
            Behavior::Status(429, Some(1))
        } else {
            Behavior::Normal
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
    let (error, _) = fault_of(Behavior::Html);
    assert!(matches!(fault(&error), Fault::Html));
    let (error, _) = fault_of(Behavior::OtherRange);
    assert!(matches!(fault(&error), Fault::Range { .. }));
    let (error, _) = fault_of(Behavior::OtherTotal(1));
    assert!(matches!(fault(&error), Fault::Range { .. }));
    let (error, _) = fault_of(Behavior::NoRange);
    assert!(matches!(fault(&error), Fault::NoRanges));
    let (error, _) = fault_of(Behavior::OtherEtag);
    assert!(matches!(fault(&error), Fault::Changed { .. }));
    let (error, _) = fault_of(Behavior::Redirect("ftp://127.0.0.1/x".into()));
    assert!(matches!(fault(&error), Fault::RedirectTo(_)));
    let (error, asked) = fault_of(Behavior::Redirect(format!("/x/{WEIGHTS}")));
    assert!(
        matches!(fault(&error), Fault::TooManyRedirects { .. }) && asked == 10,
        "{asked}"
    );
}

#[test]
fn wrong_bytes_of_the_right_length_are_thrown_away() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(SIZE));
    for victim in ["config.json", WEIGHTS] {
        hub.behave_for(victim, Behavior::Corrupt);
        let error = download(settings(cache.path(), &hub)).unwrap_err();
        assert!(
            matches!(&error, HubError::Hash { file, .. } if file == victim),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("discarded"));
        assert_nothing_half_is_taken_for_whole(cache.path(), &hub);
    }
    hub.behave(|_| Behavior::Normal);
    download(settings(cache.path(), &hub)).unwrap();
    assert_whole(cache.path(), &hub);
}

#[test]
fn a_listing_that_is_a_page_or_half_a_page_is_an_error() {
    let (cache, hub) = (tempfile::tempdir().unwrap(), HubServer::with_weights(10));
    hub.behave(|_| Behavior::Html);
    let error = download(settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(fault(&error), Fault::Html));
    hub.behave(|_| Behavior::Status(404, None));
    let error = download(settings(cache.path(), &hub)).unwrap_err();
    assert!(matches!(fault(&error), Fault::Status { status: 404, .. }));
}
