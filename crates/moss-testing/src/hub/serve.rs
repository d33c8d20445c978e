use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::{
    Behavior, HubServer, Request, WEIGHTS,
    listing::{clear_lengths, sha256},
};

/// Longer than any client waits.
const STALL: Duration = Duration::from_secs(60);

/// Writes a response; `None` if the client has closed the connection.
fn respond(stream: &mut TcpStream, status: u16, headers: &[String], body: &[u8]) -> Option<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn length(bytes: usize) -> String {
    format!("Content-Length: {bytes}")
}

fn retry_after(seconds: Option<u64>) -> Option<String> {
    seconds.map(|seconds| format!("Retry-After: {seconds}"))
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut request = Self {
            path,
            range: None,
            token: None,
            sent: 0,
        };
        for line in lines {
            let line = line.ok()?;
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => {
                    let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                    request.range = Some(from.parse().ok()?..to.parse::<usize>().ok()? + 1);
                }
                "authorization" => request.token = Some(value.trim().to_owned()),
                "" => break,
                _ => (),
            }
        }
        Some(request)
    }
}

impl HubServer {
    /// Answers one request; `None` if the client has closed the connection.
    pub(super) fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let request = Request::read(&stream)?;
        let behavior = (self.choose.lock().unwrap())(&request);
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let stream = &mut stream;
        match &behavior {
            Behavior::Status(status, wait) => {
                let headers: Vec<_> = retry_after(*wait).into_iter().chain([length(0)]).collect();
                respond(stream, *status, &headers, b"")
            }
            Behavior::StatusPage(status, wait) => {
                let page = b"<html>log in first</html>";
                let headers = ["Content-Type: text/html".into(), length(page.len())];
                let headers: Vec<_> = headers.into_iter().chain(retry_after(*wait)).collect();
                respond(stream, *status, &headers, page)
            }
            Behavior::Redirect(to) => {
                respond(stream, 302, &[format!("Location: {to}"), length(0)], b"")
            }
            Behavior::Html => send_page(stream, Some("text/html; charset=utf-8")),
            Behavior::Page(kind) => send_page(stream, *kind),
            _ if request.path.starts_with("/api/") => {
                self.send_listing(stream, &request, &behavior)
            }
            _ => self.send_file(stream, &request, &behavior, number),
        }
    }

    fn send_listing(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        behavior: &Behavior,
    ) -> Option<()> {
        let mut listing = if request.path.starts_with("/api/v1/") {
            self.model_scope_listing()
        } else {
            let bytes = match behavior {
                Behavior::ListedBytes(bytes) => Some(*bytes),
                _ => None,
            };
            self.hugging_face_listing(bytes)
        };
        if matches!(behavior, Behavior::NoLengths) {
            clear_lengths(&mut listing);
        }
        let listing = listing.to_string();
        let headers = [
            "Content-Type: application/json".into(),
            length(listing.len()),
        ];
        let (part, pause) = match behavior {
            Behavior::Stall(bytes) => (*bytes, STALL),
            Behavior::Throttle(_) => (1, Duration::from_millis(500)),
            _ => (listing.len(), Duration::ZERO),
        };
        respond(stream, 200, &headers, b"")?;
        for part in listing.as_bytes().chunks(part.max(1)) {
            stream.write_all(part).ok()?;
            thread::sleep(pause);
        }
        Some(())
    }

    fn send_file(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        behavior: &Behavior,
        number: usize,
    ) -> Option<()> {
        let name = request.path.rsplit('/').next()?;
        let Some(file) = self.files.get(name) else {
            return respond(stream, 404, &[length(0)], b"");
        };
        let mut range = request.range.clone().unwrap_or(0..file.len());
        let mut total = file.len();
        let mut headers = vec![];
        let mut body = file.clone();
        match behavior {
            Behavior::OtherRange => range.start += 1,
            Behavior::OtherTotal(more) => total += more,
            Behavior::Corrupt => body.iter_mut().for_each(|byte| *byte ^= 1),
            Behavior::OtherEtag => headers.push(format!("X-Linked-ETag: \"{}\"", "f".repeat(64))),
            Behavior::Capitals if name == WEIGHTS => {
                let hash = sha256(file).to_uppercase();
                headers.push(format!("X-LINKED-ETAG: \"{hash}\""));
            }
            _ => (),
        }
        let (start, last) = (range.start, range.end.saturating_sub(1));
        let status = match behavior {
            Behavior::NoRange => {
                range = 0..file.len();
                200
            }
            Behavior::Capitals => {
                headers.push(format!("CONTENT-RANGE: BYTES {start}-{last}/*"));
                206
            }
            _ => {
                headers.push(format!("Content-Range: bytes {start}-{last}/{total}"));
                206
            }
        };
        headers.push(length(range.len()));
        respond(stream, status, &headers, b"")?;
        let whole = &body[range];
        let sent = match behavior {
            Behavior::Truncate(bytes) | Behavior::Stall(bytes) => &whole[..whole.len().min(*bytes)],
            _ => whole,
        };
        let (part, pause) = match behavior {
            Behavior::Throttle(rate) => ((rate / 50).clamp(1, 4096), Duration::from_millis(20)),
            _ => (4096, Duration::ZERO),
        };
        for part in sent.chunks(part) {
            stream.write_all(part).ok()?;
            self.requests.lock().unwrap().get_mut(number)?.sent += part.len();
            thread::sleep(pause);
        }
        if matches!(behavior, Behavior::Stall(_)) {
            thread::sleep(STALL);
        }
        Some(())
    }
}

/// Sends the login page of a captive portal.
fn send_page(stream: &mut TcpStream, kind: Option<&str>) -> Option<()> {
    let page = b"\n<!DOCTYPE html><html>log in first</html>";
    let kind = kind.map(|kind| format!("Content-Type: {kind}"));
    let headers: Vec<_> = kind.into_iter().chain([length(page.len())]).collect();
    respond(stream, 200, &headers, page)
}
