//! What can go wrong between a name and a folder.

mod zh;

use std::path::PathBuf;

#[cfg(feature = "download")]
use crate::{Fault, fault::Failure};
use crate::{ModelId, id::ORGANISATION};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No folder of that name anywhere.
    #[error("model `{name}` was not found; looked in:{}", list(looked))]
    NotFound {
        /// The name as given.
        name: String,
        /// Places, and why they would not do.
        looked: Vec<(PathBuf, &'static str)>,
        /// A known name that is close to this one.
        similar: Option<&'static str>,
    },
    /// The demo model could not be written to the disk.
    #[error("cannot write the demo model to `{}`", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A name that no hub has.
    #[error("`{id}` is no model's name, expected ORGANISATION/NAME or a published short name")]
    BadId {
        /// As given.
        id: String,
    },
    /// The caller wants no connection.
    #[error("`{id}` is not downloaded: offline was asked for")]
    Offline {
        /// The model.
        id: String,
    },
    /// An address that is none.
    #[error("the hub's address `{endpoint}` will not do: {reason}")]
    BadEndpoint {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy's address that is none; not shown, it may hold a password.
    #[error("the proxy's address will not do: {reason}")]
    BadProxy {
        /// What is wrong with it.
        reason: String,
    },
    /// The hub's answer is no list of files.
    #[error("{url} lists `{id}` in a way that is not understood: {reason}")]
    Listing {
        /// The hub.
        url: String,
        /// The model.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A repository that the engine cannot run.
    #[error("`{id}` at {endpoint} has no {missing}")]
    Incomplete {
        /// The model.
        id: String,
        /// The hub.
        endpoint: String,
        /// The first file that is needed and not there.
        missing: String,
    },
    /// A file that did not come.
    #[cfg(feature = "download")]
    #[error("cannot fetch {file} from {url} ({attempts} attempt(s))")]
    Transfer {
        /// Its name.
        file: String,
        /// Where the last attempt ended, after redirects.
        url: String,
        /// Attempts in vain.
        attempts: u32,
        /// The last one's.
        #[source]
        fault: Fault,
    },
    /// All bytes came, and they are not the file's.
    #[error("{file} from {url} has the hash {found}, expected {expected}")]
    Hash {
        /// Its name.
        file: String,
        /// Where it came from.
        url: String,
        /// Of what came.
        found: String,
        /// Of the hub's listing.
        expected: String,
    },
    /// The disk is too small.
    #[error("`{}` has {free} bytes free, the download needs {needed}", path.display())]
    Space {
        /// A folder on that disk.
        path: PathBuf,
        /// What is to be fetched.
        needed: u64,
        /// What is free.
        free: u64,
        /// Part of `needed` that goes to copies, because the file system has no links.
        copies: u64,
    },
    /// The cache cannot be used.
    #[error("cannot use `{}`", path.display())]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn list(looked: &[(PathBuf, &'static str)]) -> String {
    looked
        .iter()
        .map(|(path, why)| format!("\n  {} ({why})", path.display()))
        .collect()
}

const MIRROR: &str = "set a mirror (HF_ENDPOINT=https://hf-mirror.com) or `--source modelscope`";
const LOGIN: &str = "open any web page in a browser and log in";
const DEMO: &str = "`--demo` needs no network: a tiny model that comes with this program";
const BY_HAND: &str = "put config.json, vocab.json, merges.txt, added_tokens.json and the weight files by hand into \
                       ./fnlp/NAME, where they are found";

impl HubError {
    #[cfg(feature = "download")]
    pub(crate) fn transfer(file: &str, failure: Failure, attempts: u32) -> Self {
        Self::Transfer {
            file: file.to_owned(),
            url: failure.url,
            attempts,
            fault: failure.fault,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { similar: Some(similar), .. } => format!("did you mean `{similar}`?"),
            Self::NotFound { name, .. } => match id_of(name) {
                Some(id) => format!(
                    "`moss-cli download {id}` fetches it, or put config.json, vocab.json, merges.txt, added_tokens.json and \
                     pytorch_model*.bin by hand into ./{id}; `--demo` talks at once, with a tiny model that comes with this program"
                ),
                None => {
                    "check the path; `--demo` talks at once, with a tiny model that comes with this program"
                        .into()
                }
            },
            Self::Write { .. } => "set XDG_CACHE_HOME to a folder that can be written".into(),
            Self::BadId { .. } => {
                "such as `fnlp/moss-moon-003-sft-int4`, or `moss-moon-003-sft-int4` for short".into()
            }
            Self::Offline { .. } => {
                format!("leave out `--offline` (HF_HUB_OFFLINE), or {BY_HAND}; {DEMO}")
            },
            Self::BadEndpoint { .. } => {
                "such as HF_ENDPOINT=https://hf-mirror.com, or MODELSCOPE_ENDPOINT=https://www.modelscope.cn with `--source modelscope`".into()
            },
            Self::BadProxy { .. } => {
                "such as HTTPS_PROXY=http://127.0.0.1:7890 or ALL_PROXY=socks5://127.0.0.1:1080".into()
            }
            Self::Listing { .. } => format!(
                "check the address; a login page or a proxy of the network may have answered in the hub's place; {MIRROR}; or {BY_HAND}"
            ),
            Self::Incomplete { .. } => format!("{MIRROR}; or {BY_HAND}"),
            #[cfg(feature = "download")]
            Self::Transfer { fault, .. } => transfer_hint(fault),
            Self::Hash { .. } => {
                format!(
                    "what came was thrown away; run it again, and where that does not help {LOGIN}, or {MIRROR}, or {BY_HAND}"
                )
            }
            Self::Space { copies: 1.., .. } => {
                "this file system has neither symbolic nor hard links, so that the cache holds every file twice: set HF_HUB_CACHE to a folder on another file system, or make room".into()
            }
            Self::Space { .. } => "make room, or set HF_HUB_CACHE to a folder on a larger disk".into(),
            Self::Disk { .. } => {
                "set HF_HUB_CACHE to a folder that can be written, on a disk with room".into()
            }
        })
    }
}

#[cfg(feature = "download")]
fn transfer_hint(fault: &Fault) -> String {
    let first = match fault {
        Fault::Status {
            status: 401 | 403, ..
        } => format!(
            "the hub refuses: check the name, set HF_TOKEN where it needs one; where the network asks for a login first, {LOGIN}; "
        ),
        Fault::Status { status: 404, .. } => "check the name; ".to_owned(),
        Fault::Status { status: 429, .. } => {
            "the hub wants fewer requests: wait, then run it again; ".to_owned()
        }
        // Answers that no hub gives.
        Fault::Html
        | Fault::Tls { .. }
        | Fault::Redirect(_)
        | Fault::Length { .. }
        | Fault::NoRanges
        | Fault::Status {
            status: 200..=299 | 511,
            ..
        } => format!("the network seems to ask for a login first: {LOGIN}, then run it again; "),
        Fault::Connection(_) | Fault::Status { .. } => format!(
            "run it again, it goes on where it stopped; where the network asks for a login first, {LOGIN}; "
        ),
        Fault::Unreachable { .. } => {
            return format!(
                "check this machine's network connection; HTTPS_PROXY sets a proxy; {MIRROR}; or {BY_HAND}; {DEMO}"
            );
        }
        _ => "run it again, it goes on where it stopped; ".to_owned(),
    };
    format!("{first}{MIRROR}; HTTPS_PROXY sets a proxy; or {BY_HAND}")
}

/// What a hub would call the model of this name; a path is none.
fn id_of(name: &str) -> Option<ModelId> {
    ModelId::read(name).or_else(|| ModelId::read(&format!("{ORGANISATION}/{name}")))
}
