//! The addresses that the server listens on and prints.

use std::{
    env,
    net::{TcpListener, TcpStream},
};

use moss_testing::http::Client;

use crate::support::{command, fails, server::ServerProcess};

/// Starts a server with environment variables.
fn announced(args: &[&str], environment: &[(&str, &str)]) -> ServerProcess {
    let args = [&["serve", "--demo", "--port", "0"], args].concat();
    let mut command = command(&env::temp_dir(), &args);
    command.envs(environment.iter().copied());
    ServerProcess::start(command)
}

/// Returns the status of a request to `url`, with the header `Host` that a browser would send.
fn status_of(url: &str) -> u16 {
    let authority = url.strip_prefix("http://").unwrap();
    let address = TcpStream::connect(authority).unwrap().peer_addr().unwrap();
    let client = Client { address };
    let host = [("host", authority)];
    client.send("GET", "/health", &host, b"").status
}

#[test]
fn loopback_written_as_an_ipv6_address_is_loopback() {
    let server = ServerProcess::demo(&["--host", "::ffff:127.0.0.1"]);
    assert!(
        server.start.contains("listening on http://127.0.0.1:"),
        "{}",
        server.start
    );
}

#[test]
fn listening_beyond_this_machine_without_a_key_is_refused() {
    let args = ["serve", "--demo", "--host", "0.0.0.0", "--port", "0"];
    fails(&args, &["there is no API key", "hint: ", "--no-key"]);
}

#[test]
fn a_port_that_is_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let message = format!("cannot listen on 127.0.0.1:{port}");
    fails(&["serve", "--demo", "--port", &port], &[&message]);
}

#[test]
fn every_url_that_serve_prints_answers() {
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let mut hosts = vec![
        ("127.0.0.1", false),
        ("127.0.0.1", true),
        ("0.0.0.0", true),
        ("0.0.0.0", false),
    ];
    if cfg!(target_os = "linux") {
        hosts.push(("127.0.0.2", false)); // 127.0.0.0/8 is loopback
    }
    if has_ipv6 {
        hosts.extend([("::1", false), ("::", true)]);
    }
    for (host, has_name) in hosts {
        let name: &[&str] = if has_name {
            &["--allow-host", "localhost"]
        } else {
            &[]
        };
        let flags = ["--host", host, "--no-key", "--lang", "en"];
        let server = announced(&[&flags[..], name].concat(), &[]);
        let start = &server.start;
        let urls = start
            .lines()
            .filter_map(|line| line.strip_prefix("listening on "));
        let urls: Vec<_> = urls.map(|line| line.split(' ').next().unwrap()).collect();
        assert!(!urls.is_empty(), "{start}");
        for url in urls {
            assert!(
                !url.contains("//0.0.0.0") && !url.contains("[::]"),
                "{start}"
            );
            assert_eq!(status_of(url), 200, "{url} of {start}");
        }
    }
}

#[test]
fn serve_prints_the_ssh_command_on_loopback_and_the_state_of_the_key_in_both_languages() {
    let session = [
        ("USER", "me"),
        ("SSH_CONNECTION", "192.0.2.1 5000 192.0.2.7 2222"),
    ];
    for (language, needed, not_needed) in [
        ("en", "API key: required", "API key: not required"),
        ("zh", "API 密钥：需要", "API 密钥：不需要"),
    ] {
        let cases: [(&[&str], &str, bool); 3] = [
            (&[], not_needed, true),
            (&["--api-key", "secret"], needed, true),
            (&["--host", "0.0.0.0", "--api-key", "secret"], needed, false),
        ];
        for (args, key, has_tunnel) in cases {
            let server = announced(&[args, &["--lang", language]].concat(), &session);
            let (start, port) = (&server.start, server.port());
            let command = format!("`ssh -L {port}:127.0.0.1:{port} -p 2222 me@192.0.2.7`");
            assert!(start.contains(key) && !start.contains("secret"), "{start}");
            assert_eq!(start.contains(&command), has_tunnel, "{start}");
        }
    }
}
