//! A model hub on this machine, which serves one model and fails in the ways that hubs, proxies and
//! networks do.

mod listing;
mod serve;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    ops::Range,
    sync::{Arc, Mutex},
    thread,
};

pub use listing::git_blob;

/// The id of the model that every [`HubServer`] serves.
pub const ID: &str = "fnlp/moss-moon-003-sft-int4";
/// The commit of its `main` branch.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The file with its weights.
pub const WEIGHTS: &str = "pytorch_model.bin";

/// A request, as a client sent it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// The header `Range`.
    pub range: Option<Range<usize>>,
    /// The header `Authorization`.
    pub token: Option<String>,
    /// Bytes of the file that were sent in response.
    pub sent: usize,
}

impl Request {
    /// Returns true for a request of this file's bytes.
    pub fn is_for(&self, file: &str) -> bool {
        self.path.ends_with(&format!("/{file}"))
    }
}

/// A way to answer a request.
#[derive(Debug, Clone)]
pub enum Behavior {
    /// As a working hub does.
    Normal,
    /// The connection is closed after this many bytes of the body.
    Truncate(usize),
    /// Nothing is sent after this many bytes of the body.
    Stall(usize),
    /// This many bytes per second.
    Throttle(usize),
    /// A status without a body, and seconds of `Retry-After`.
    Status(u16, Option<u64>),
    /// A range that starts one byte later than requested.
    OtherRange,
    /// A total length that is this many bytes too large.
    OtherTotal(usize),
    /// The whole file with status 200: ranges are not supported.
    NoRange,
    /// The requested length with wrong bytes.
    Corrupt,
    /// An HTML page with status 200.
    Html,
    /// A redirect to this address.
    Redirect(String),
    /// Another ETag than in the listing.
    OtherEtag,
    /// `Content-Range` in capitals and without a total, and the hash in capitals.
    Capitals,
    /// An HTML page with status 200 and this `Content-Type`.
    Page(Option<&'static str>),
    /// An HTML page with this status, and seconds of `Retry-After`.
    StatusPage(u16, Option<u64>),
    /// A listing without the lengths of files.
    NoLengths,
    /// A listing in which the weights have this many bytes.
    ListedBytes(u64),
}

type Choose = Box<dyn FnMut(&Request) -> Behavior + Send>;

/// The hub. It serves until the test process ends.
#[derive(Clone)]
pub struct HubServer {
    /// The endpoint, such as `http://127.0.0.1:40000`.
    pub address: String,
    files: Arc<BTreeMap<String, Vec<u8>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    choose: Arc<Mutex<Choose>>,
}

impl HubServer {
    /// Serves a model with this many pseudo-random bytes of weights and small other files.
    pub fn with_weights(bytes: usize) -> Self {
        let small = |name: &str| {
            let text = format!("{{\"file\": \"{name}\"}}");
            (name.to_owned(), text.into_bytes())
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
        let mut weights = vec![0; bytes];
        crate::pseudo_random_bytes(&mut 1, &mut weights);
        files.insert(WEIGHTS.to_owned(), weights);
        Self::serve(files)
    }

    /// Serves the files of a folder.
    pub fn of_folder(folder: impl AsRef<std::path::Path>) -> Self {
        let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let read = |file: std::fs::DirEntry| {
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap())
        };
        Self::serve(files.map(read).collect())
    }

    /// Serves these files.
    pub fn serve(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hub = Self {
            address,
            files: Arc::new(files),
            requests: Arc::default(),
            choose: Arc::new(Mutex::new(Box::new(|_| Behavior::Normal))),
        };
        let server = hub.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // An error means that the client has closed the connection, which is allowed.
                thread::spawn(move || server.answer(stream));
            }
        });
        hub
    }

    /// Chooses the behavior for each request from now on.
    pub fn behave(&self, choose: impl FnMut(&Request) -> Behavior + Send + 'static) {
        *self.choose.lock().unwrap() = Box::new(choose);
    }

    /// Answers requests of `file` with `behavior` from now on, and others as usual.
    pub fn behave_for(&self, file: &'static str, behavior: Behavior) {
        self.behave(move |request| {
            if request.is_for(file) {
                behavior.clone()
            } else {
                Behavior::Normal
            }
        });
    }

    /// Returns the bytes of a file.
    pub fn file(&self, name: &str) -> &[u8] {
        &self.files[name]
    }

    /// Returns the requests since the last call.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    /// Returns how many bytes of a file were sent since the last [`Self::take_requests`].
    pub fn sent(&self, name: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        let of_file = requests.iter().filter(|request| request.is_for(name));
        of_file.map(|request| request.sent).sum()
    }
}
