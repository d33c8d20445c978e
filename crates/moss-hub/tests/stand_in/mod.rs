//! A hub on this machine, which serves one model and misbehaves as it is told to.
#![allow(dead_code)] // each test file uses a part

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha2::Digest;

pub(crate) const ID: &str = "fnlp/moss-moon-003-sft-int4";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const WEIGHTS: &str = "pytorch_model.bin";

/// As a client sent it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<Range<usize>>,
    pub(crate) token: Option<String>,
    /// Bytes of the file that were sent in answer.
    pub(crate) sent: usize,
}

impl Request {
    pub(crate) fn is_for(&self, file: &str) -> bool {
        self.path.ends_with(&format!("/{file}"))
    }
}

/// What an answer is like.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    Honest,
    /// The connection ends after so many bytes.
    Cut(usize),
    /// Nothing comes after so many bytes.
    Stall(usize),
    /// Bytes a second.
    Throttle(usize),
    /// With a Retry-After.
    Status(u16, Option<u64>),
    /// Another stretch than was asked for.
    OtherRange,
    /// The file's length with so many bytes added.
    OtherTotal(usize),
    /// The whole file, whatever was asked for.
    NoRange,
    /// Right length, wrong bytes.
    Corrupt,
    Html,
    Redirect(String),
    /// The hub's name for the file's bytes has changed.
    OtherEtag,
    /// Content-Range without a total, and in capitals; the file's hash in capitals too.
    Capitals,
    /// A page with this type, or with none.
    Page(Option<&'static str>),
    /// A page with a status, and with a Retry-After.
    StatusPage(u16, Option<u64>),
    /// The listing tells no file's length.
    NoLengths,
    /// The listing says that the weights have so many bytes.
    ListedBytes(u64),
}

type Mood = Box<dyn FnMut(&Request) -> Manner + Send>;

#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) address: String,
    files: Arc<BTreeMap<String, Vec<u8>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    mood: Arc<Mutex<Mood>>,
}

impl StandIn {
    /// A model with weights of so many bytes that repeat nowhere.
    pub(crate) fn with_weights(bytes: usize) -> Self {
        let mut state = 1u64;
        let random = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let weights: Vec<u8> = (0..bytes).map(random).collect();
        let small = |name: &str| {
            (
                name.to_owned(),
                format!("{{\"file\": \"{name}\"}}").into_bytes(),
            )
        };
        let mut files: BTreeMap<_, _> = [
            "config.json",
            "vocab.json",
            "merges.txt",
            "added_tokens.json",
            "README.md",
            "model.py",
        ]
        .map(small)
        .into();
        files.insert(WEIGHTS.to_owned(), weights);
        Self::serve(files)
    }

    pub(crate) fn serve(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = Self {
            address,
            files: Arc::new(files),
            requests: Arc::default(),
            mood: Arc::new(Mutex::new(Box::new(|_| Manner::Honest))),
        };
        let server = stand_in.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // a client that leaves is no failure here
                thread::spawn(move || server.answer(stream));
            }
        });
        stand_in
    }

    /// From now on, answers are given in this manner.
    pub(crate) fn behave(&self, mood: impl FnMut(&Request) -> Manner + Send + 'static) {
        *self.mood.lock().unwrap() = Box::new(mood);
    }

    pub(crate) fn file(&self, name: &str) -> &[u8] {
        &self.files[name]
    }

    /// What was asked so far; the list begins anew.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Bytes of a file that were sent so far.
    pub(crate) fn sent(&self, name: &str) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|r| r.is_for(name))
            .map(|r| r.sent)
            .sum()
    }

    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut request = Request {
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
        let manner = (self.mood.lock().unwrap())(&request);
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let mut head = |status: &str, headers: &[String], body: &[u8]| {
            let headers: String = headers
                .iter()
                .map(|header| format!("{header}\r\n"))
                .collect();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n"
            )
            .ok()?;
            stream.write_all(body).ok()
        };
        match &manner {
            Manner::Status(status, wait) => {
                let wait = wait.map(|seconds| format!("Retry-After: {seconds}"));
                let headers: Vec<_> = wait
                    .into_iter()
                    .chain(["Content-Length: 0".into()])
                    .collect();
                return head(&status.to_string(), &headers, b"");
            }
            Manner::StatusPage(status, wait) => {
                let page = b"<html>log in first</html>";
                let wait = wait.map(|seconds| format!("Retry-After: {seconds}"));
                let headers = ["Content-Type: text/html".into(), length(page.len())];
                let headers: Vec<_> = headers.into_iter().chain(wait).collect();
                return head(&status.to_string(), &headers, page);
            }
            Manner::Redirect(to) => {
                return head(
                    "302",
                    &[format!("Location: {to}"), "Content-Length: 0".into()],
                    b"",
                );
            }
            Manner::Html | Manner::Page(_) => {
                let page = b"\n<!DOCTYPE html><html>log in first</html>";
                let kind = match &manner {
                    Manner::Page(kind) => *kind,
                    _ => Some("text/html; charset=utf-8"),
                };
                let kind = kind.map(|kind| format!("Content-Type: {kind}"));
                let headers: Vec<_> = kind.into_iter().chain([length(page.len())]).collect();
                return head("200", &headers, page);
            }
            _ => (),
        }
        if request.path.starts_with("/api/") {
            let bytes = match manner {
                Manner::ListedBytes(bytes) => Some(bytes),
                _ => None,
            };
            let mut listing = self.listing(request.path.starts_with("/api/v1/"), bytes);
            if matches!(manner, Manner::NoLengths) {
                listing = without_lengths(&listing);
            }
            let headers = [
                "Content-Type: application/json".into(),
                length(listing.len()),
            ];
            let (first, pause) = match manner {
                Manner::Stall(bytes) => (bytes.min(listing.len()), Duration::from_secs(60)),
                Manner::Throttle(_) => (1, Duration::from_millis(500)),
                _ => (listing.len(), Duration::ZERO),
            };
            head("200", &headers, b"")?;
            for part in listing.as_bytes().chunks(first.max(1)) {
                stream.write_all(part).ok()?;
                thread::sleep(pause);
            }
            return Some(());
        }
        let name = request.path.rsplit('/').next()?;
        let Some(file) = self.files.get(name) else {
            return head("404", &[length(0)], b"");
        };
        let mut range = request.range.clone().unwrap_or(0..file.len());
        let mut total = file.len();
        let mut headers = vec![];
        let mut body = file.clone();
        match manner {
            Manner::OtherRange => range = range.start + 1..range.end,
            Manner::OtherTotal(more) => total += more,
            Manner::Corrupt => body.iter_mut().for_each(|byte| *byte ^= 1),
            Manner::OtherEtag => headers.push(format!("X-Linked-ETag: \"{}\"", "f".repeat(64))),
            _ => (),
        }
        let status = if matches!(manner, Manner::NoRange) {
            range = 0..file.len();
            "200"
        } else {
            headers.push(match manner {
                Manner::Capitals => {
                    format!("CONTENT-RANGE: BYTES {}-{}/*", range.start, range.end - 1)
                }
                _ => format!(
                    "Content-Range: bytes {}-{}/{total}",
                    range.start,
                    range.end - 1
                ),
            });
            if matches!(manner, Manner::Capitals) && name == WEIGHTS {
                let hash = hex(&sha2::Sha256::digest(file)).to_uppercase();
                headers.push(format!("X-LINKED-ETAG: \"{hash}\""));
            }
            "206"
        };
        headers.push(length(range.len()));
        head(status, &headers, b"")?;
        let pace = match manner {
            Manner::Throttle(rate) => rate / 50,
            _ => usize::MAX,
        };
        let whole = &body[range];
        let sent = match manner {
            Manner::Cut(bytes) | Manner::Stall(bytes) => &whole[..bytes.min(whole.len())],
            _ => whole,
        };
        for chunk in sent.chunks(pace.clamp(1, 4096)) {
            stream.write_all(chunk).ok()?;
            self.requests.lock().unwrap().get_mut(number)?.sent += chunk.len();
            if pace != usize::MAX {
                thread::sleep(Duration::from_millis(20));
            }
        }
        if matches!(manner, Manner::Stall(_)) {
            thread::sleep(Duration::from_secs(20));
        }
        Some(())
    }

    fn listing(&self, model_scope: bool, weights: Option<u64>) -> String {
        let sha256 = |bytes: &[u8]| hex(&sha2::Sha256::digest(bytes));
        if model_scope {
            let file = |(name, bytes): (&String, &Vec<u8>)| serde_json::json!({"Path": name, "Size": bytes.len(), "Sha256": sha256(bytes), "Type": "blob"});
            let files: Vec<_> = self.files.iter().map(file).collect();
            return serde_json::json!({"Code": 200, "Data": {"Files": files}}).to_string();
        }
        let file = |(name, bytes): (&String, &Vec<u8>)| match name.ends_with(".bin") {
            true => {
                serde_json::json!({"rfilename": name, "size": bytes.len(), "blobId": "0".repeat(40),
                "lfs": {"sha256": sha256(bytes), "size": weights.unwrap_or(bytes.len() as u64), "pointerSize": 134}})
            }
            false => {
                serde_json::json!({"rfilename": name, "size": bytes.len(), "blobId": git_blob(bytes)})
            }
        };
        let files: Vec<_> = self.files.iter().map(file).collect();
        serde_json::json!({"id": ID, "sha": COMMIT, "siblings": files, "cardData": {"license": "agpl-3.0"}})
            .to_string()
    }
}

/// A listing in which every length is null.
fn without_lengths(listing: &str) -> String {
    fn clear(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match name.as_str() {
                        "size" | "Size" => *value = serde_json::Value::Null,
                        _ => clear(value),
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(clear),
            _ => (),
        }
    }
    let mut value = serde_json::from_str(listing).unwrap();
    clear(&mut value);
    value.to_string()
}

fn length(bytes: usize) -> String {
    format!("Content-Length: {bytes}")
}

pub(crate) fn git_blob(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
