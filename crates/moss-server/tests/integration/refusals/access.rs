//! Keys, hosts and origins.

use moss_server::{Server, ServerOptions};
use moss_testing::http::Client;

use crate::support::{CHAT, Running, Setup, TEXT, serve, sum};

#[test]
fn a_server_without_its_model_is_alive_and_not_ready() {
    let server = Server::new(ServerOptions::local("moss"));
    let (address, _stop, _thread) = serve(server);
    let get = |path: &str| Client { address }.get(path).status;
    assert_eq!(
        ["/health", "/ready", "/api/info", "/v1/models"].map(get),
        [200, 503, 503, 200]
    );
}

#[test]
fn keys_open_everything_but_health_and_the_page() {
    let mut setup = Setup::default();
    for key in ["first", "second"] {
        setup.options.api_keys.add(key).unwrap();
    }
    let server = setup.start();
    let asked = |key: Option<&str>, path: &str| {
        let key = key.map(|key| format!("Bearer {key}"));
        let headers = key.as_deref().map(|key| ("authorization", key));
        server.send("GET", path, headers.as_slice(), b"").status
    };
    for path in ["/v1/models", "/api/info", "/metrics", "/stats"] {
        let statuses = [None, Some("wrong"), Some(""), Some("first"), Some("second")]
            .map(|key| asked(key, path));
        assert_eq!(statuses, [401, 401, 401, 200, 200], "{path}");
        let spaced = [" first", "  second", " fir st"].map(|key| asked(Some(key), path));
        assert_eq!(spaced, [200, 200, 401], "{path}: one space or more");
    }
    assert!(
        ["/", "/health", "/ready", "/docs", "/openapi.json"]
            .iter()
            .all(|path| asked(None, path) == 200)
    );
    for path in [CHAT, TEXT, "/"] {
        let reply = server.post(path, &sum());
        assert_eq!(
            (reply.error().0, reply.header("www-authenticate")),
            (401, Some("bearer"))
        );
    }
}

#[test]
fn requests_for_other_host_names_are_refused() {
    let server = Running::start();
    let asked = |host: &str| {
        server
            .send("GET", "/v1/models", &[("host", host)], b"")
            .status
    };
    assert_eq!(
        ["localhost", "LOCALHOST:1", "127.0.0.1:8888", "[::1]:80"].map(asked),
        [200; 4]
    );
    assert_eq!(
        [
            "evil.example",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil:80"
        ]
        .map(asked),
        [421; 4]
    );
}

#[test]
fn other_origins_are_allowed_only_if_configured() {
    let preflight = |server: &Running| {
        let headers = [
            ("origin", "https://a.example"),
            ("access-control-request-method", "POST"),
        ];
        server
            .send("OPTIONS", CHAT, &headers, b"")
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(preflight(&Running::start()), None);
    let mut setup = Setup::default();
    setup.options.cors_origins = vec!["https://a.example".into()];
    assert_eq!(
        preflight(&setup.start()).as_deref(),
        Some("https://a.example")
    );
}

#[test]
fn the_page_loads_nothing_from_other_hosts() {
    let server = Running::start();
    for path in ["/", "/docs"] {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(
            !reply.body.contains("src=\"http") && !reply.body.contains("href=\"http"),
            "{path}"
        );
    }
}

#[test]
fn ids_of_requests_come_back_unless_they_could_forge_a_log() {
    let server = Running::start();
    let asked = |id: &str| {
        server
            .send("GET", "/health", &[("x-request-id", id)], b"")
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    assert_eq!(asked("my-id.7"), "my-id.7");
    assert_ne!(asked("a b"), "a b");
    assert_eq!(asked(&"x".repeat(65)).len(), 32);
}
