//! Faults that end the engine: reported to clients, `/health` and `/ready`, and followed by the end
//! of the server.

use std::{
    io::Read,
    time::{Duration, Instant},
};

use moss_testing::{
    http::{JSON, Reply, first_text, with},
    model::Fault,
    wait_until,
};
use serde_json::json;

use crate::support::{Setup, TEXT, endless};

fn fails_for_good(fault: Fault) {
    let mut setup = Setup {
        fault,
        pause: Duration::from_millis(5),
        ..Setup::default()
    };
    setup.engine.stall_time = Some(Duration::from_millis(1500));
    setup.options.failure_time = Duration::from_secs(4);
    let mut server = setup.start();
    assert_eq!(
        (server.get("/health").status, server.get("/ready").status),
        (200, 200)
    );
    let mut stream = server.lines(TEXT, &with(endless(4, 1900), json!({"stream": true})));
    first_text(&mut stream);
    let body = endless(4, 1900).to_string();
    let mut whole = server.open("POST", TEXT, &[JSON], body.as_bytes());
    wait_until("both requests", || server.engine.metrics().running == 2);
    server.fail_after(3);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let last = rest.trim_end().lines().last().unwrap();
    assert!(
        last.contains("\"code\":\"engine_failed\"") && !rest.contains("[DONE]"),
        "{fault:?}: {rest}"
    );
    let mut bytes = Vec::new();
    whole.read_to_end(&mut bytes).unwrap();
    let whole = Reply::parse(&bytes);
    assert_eq!(
        (whole.error().0, whole.error().2.as_str()),
        (503, "engine_failed"),
        "{fault:?}"
    );
    assert!(
        !whole.body.contains("injected") && !whole.body.contains("illegal"),
        "causes are for the log: {}",
        whole.body
    );
    for path in ["/health", "/ready"] {
        let reply = server.get(path);
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (503, "engine_failed"),
            "{fault:?} {path}"
        );
    }
    assert_eq!(server.post(TEXT, &endless(4, 5)).error().0, 503);
    // The server stops by itself.
    let start = Instant::now();
    server.wait();
    assert!(start.elapsed() < Duration::from_secs(60), "{fault:?}");
    assert!(server.engine.fault().is_some());
}

#[test]
fn after_a_panic_in_the_model_health_and_ready_are_503_and_the_server_ends() {
    fails_for_good(Fault::Panic);
}

#[test]
fn after_a_lost_gpu_context_health_and_ready_are_503_and_the_server_ends() {
    fails_for_good(Fault::DeviceLost);
}

#[test]
fn after_a_step_that_never_ends_health_and_ready_are_503_and_the_server_ends() {
    fails_for_good(Fault::Hangs);
}

#[test]
fn an_error_of_one_step_leaves_the_server_healthy() {
    let server = Setup::default().start();
    server.fail_after(2);
    assert_eq!(
        server.post(TEXT, &endless(4, 50)).error(),
        (500, String::new(), "engine_error".into())
    );
    let failed = "moss_answers_total{reason=\"failed\"} 1";
    assert!(server.get("/metrics").body.contains(failed));
    assert_eq!(
        (server.get("/health").status, server.get("/ready").status),
        (200, 200)
    );
    assert_eq!(server.post(TEXT, &endless(4, 5)).status, 200);
}
