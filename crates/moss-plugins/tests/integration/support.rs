//! An HTTP server with scripted responses.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use moss_plugins::{Cancellation, Endpoint, Plugin, PluginError, Plugins, Results};

/// A request: its first line and headers, and its body.
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server on this machine, which answers every request with a function.
pub(crate) struct Server {
    pub(crate) port: u16,
    received: mpsc::Receiver<Received>,
}

impl Server {
    pub(crate) fn start(
        respond: impl Fn(&Received, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, received) = mpsc::channel();
        let respond = std::sync::Arc::new(respond);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, sender, respond) =
                    (stream.unwrap(), sender.clone(), respond.clone());
                thread::spawn(move || {
                    let request = read(&stream);
                    // A client that closes the connection is part of many tests.
                    let _ = respond(&request, &mut stream);
                    let _ = sender.send(request);
                });
            }
        });
        Self { port, received }
    }

    /// Starts a server that answers every request with a status line, headers and a body.
    pub(crate) fn fixed(
        status: &'static str,
        headers: &'static str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let body = body.into();
        Self::start(move |_, stream| respond(stream, status, headers, &body))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(&format!("http://127.0.0.1:{}", self.port)).unwrap()
    }

    /// Returns the next request.
    pub(crate) fn request(&self) -> Received {
        self.received.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// Returns the number of requests so far.
    pub(crate) fn count(&self) -> usize {
        self.received.try_iter().count()
    }
}

pub(crate) fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

fn read(stream: &TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    Received {
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

/// Runs one call.
pub(crate) fn call(plugin: impl Plugin + 'static, argument: &str) -> Results {
    call_within(plugin, argument, Plugins::TIMEOUT)
}

/// Runs one call with a time limit.
pub(crate) fn call_within(
    plugin: impl Plugin + 'static,
    argument: &str,
    limit: Duration,
) -> Results {
    let commands = format!("{}(\"{argument}\")", plugin.name());
    let mut plugins = Plugins::default().with(plugin);
    plugins.set_timeout(limit);
    plugins.run(&commands, &Cancellation::default())
}

/// Returns the error of a call, whose text must say that there is no result.
pub(crate) fn error(results: &Results) -> &PluginError {
    assert!(results.text.ends_with("=>\nNo result."), "{}", results.text);
    results.calls[0].outcome.as_ref().unwrap_err()
}
