//! The end of a server.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;
use support::{Running, Setup, endless, first_text, with};

const TEXT: &str = "/v1/completions";

fn streaming(server: &Running, max_tokens: usize) -> std::io::BufReader<TcpStream> {
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let mut lines = server.lines(TEXT, &with(endless(4, max_tokens), asked));
    first_text(&mut lines);
    lines
}

#[test]
fn running_answers_are_finished_and_new_connections_refused() {
    let mut server = Setup { pause: Duration::from_millis(10), ..Setup::default() }.start();
    let mut lines = streaming(&server, 60);
    server.stop();
    std::thread::sleep(Duration::from_millis(100));
    assert!(TcpStream::connect(server.address).is_err());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"completion_tokens\":60") && rest.trim_end().ends_with("[DONE]"), "{rest}");
    server.wait();
}

#[test]
fn an_answer_that_takes_too_long_is_broken_off_in_good_form() {
    let mut setup = Setup { pause: Duration::from_millis(20), ..Setup::default() };
    setup.options.drain_time = Duration::from_millis(300);
    let mut server = setup.start();
    let mut lines = streaming(&server, 1900);
    let began = Instant::now();
    server.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"stop_reason\":\"cancelled\"") && rest.trim_end().ends_with("[DONE]"), "{rest}");
    server.wait();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn an_idle_connection_does_not_hold_a_server_up() {
    let mut server = Running::start();
    let idle = TcpStream::connect(server.address).unwrap();
    assert_eq!(server.get("/health").status, 200);
    let began = Instant::now();
    server.stop();
    server.wait();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(idle);
}
