//! An HTTP/1.0 client that shows what the server sends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// The header of a JSON body.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A client of one server. Each request uses a new connection.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The address of the server.
    pub address: SocketAddr,
}

impl Client {
    /// Returns a client of a server on this machine.
    pub fn local(port: u16) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// Sends a GET request.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    /// Sends a POST request with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// Sends a request and reads its whole response.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.open(method, path, headers, body);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        Reply::parse(&bytes)
    }

    /// Sends a request and leaves its response in the stream. With HTTP/1.0, the body of a streamed
    /// response is not split into chunks.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(180)))
            .unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.0\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "host") {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let _ = stream.write_all(body); // the server may have refused the head already
        stream
    }

    /// Sends a POST request with a JSON body and leaves its response in the stream.
    pub fn open_post(&self, path: &str, body: &Value) -> TcpStream {
        self.open("POST", path, &[JSON], body.to_string().as_bytes())
    }

    /// Sends a streaming request, of which the lines are read as they arrive.
    pub fn lines(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        BufReader::new(self.open_post(path, body))
    }
}

/// Reads lines of a stream until one is an event with text.
pub fn first_text(lines: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while !line.contains("\"text\":\"") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// The body, as it was sent.
    pub body: String,
}

impl Reply {
    /// Splits the bytes of a response.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Returns the value of a header. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the JSON body of a response whose status must be 200.
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns status, parameter and code of an error in OpenAI's format.
    pub fn error(&self) -> (u16, String, String) {
        let body: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body));
        let error = &body["error"];
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{body}"
        );
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        (self.status, text(&error["param"]), text(&error["code"]))
    }

    /// Returns the server-sent events of a stream, without the final `[DONE]`, which must exist.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        let lines = self.body.lines();
        let mut data: Vec<_> = lines
            .filter_map(|line| line.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        data.into_iter()
            .map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }
}

/// Returns `base` with fields added or replaced.
pub fn with(mut base: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("{fields} is not an object")
    };
    base.as_object_mut().unwrap().extend(fields);
    base
}
