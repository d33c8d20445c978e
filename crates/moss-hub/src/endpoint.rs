//! Which hub is asked, and how: all of it comes from the caller, nothing from the environment.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::{EndpointFault, HubError, ModelId};

/// The hubs that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// huggingface.co, and mirrors that answer as it does.
    #[default]
    HuggingFace,
    /// modelscope.cn.
    ModelScope,
}

impl Source {
    /// The name that the cache's `refs` folder gives to the newest commit. ModelScope has no
    /// commits that the Python tools could look up under `main`.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::HuggingFace => "main",
            Self::ModelScope => "modelscope",
        }
    }

    /// Returns the repository of a model. ModelScope keeps its copies of the published checkpoints
    /// under an organisation of its own.
    pub(crate) fn repository(self, id: &ModelId) -> String {
        match self {
            Self::ModelScope if id.is_known() => format!("AI-ModelScope/{}", id.name()),
            _ => id.to_string(),
        }
    }

    /// Where it answers.
    pub fn address(self) -> &'static str {
        match self {
            Self::HuggingFace => "https://huggingface.co",
            Self::ModelScope => "https://www.modelscope.cn",
        }
    }
}

/// How long a bad network is put up with.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A request is given this long, and is then judged by the bytes it brought.
    pub window: Duration,
    /// Fewer bytes a second within a window are a stall; above it the request goes on where it
    /// stopped.
    pub min_rate: u64,
    /// Failures in a row, without a useful number of bytes between them, before it is given up.
    pub attempts: u32,
    /// Pause after the first failure; it doubles up to a minute. A server's Retry-After wins.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            min_rate: 1024,
            attempts: 8,
            backoff: Duration::from_secs(1),
        }
    }
}

/// Everything a download depends on besides the model's name.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Which hub's language is spoken.
    pub source: Source,
    /// Another address for it: a mirror.
    pub endpoint: Option<String>,
    /// Shown to the endpoint and to nobody else, wherever it redirects to.
    pub token: Option<String>,
    /// `http://`, `https://`, `socks4://` or `socks5://` with host and port.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// The hub's cache of models.
    pub cache: PathBuf,
    /// No socket is opened.
    pub offline: bool,
    /// Connections at once, for large files.
    pub connections: usize,
    /// Bytes asked for at once.
    pub piece_bytes: u64,
    /// How long a bad network is put up with.
    pub patience: Patience,
}

impl HubSettings {
    /// The first hub at its own address.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            source: Source::default(),
            endpoint: None,
            token: None,
            proxy: None,
            no_proxy: None,
            cache,
            offline: false,
            connections: 4,
            piece_bytes: 32 << 20,
            patience: Patience::default(),
        }
    }

    /// The address that requests go to, ending in a slash so that paths can be joined to it.
    pub(crate) fn base(&self) -> Result<Url, HubError> {
        let text = self
            .endpoint
            .as_deref()
            .unwrap_or_else(|| self.source.address());
        let bad = |reason| HubError::BadEndpoint {
            endpoint: text.to_owned(),
            reason,
        };
        let url = Url::parse(&format!("{}/", text.trim().trim_end_matches('/')))
            .map_err(|e| bad(EndpointFault::Url(e.to_string())))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            scheme => Err(bad(EndpointFault::Scheme(scheme.to_owned()))),
        }
    }
}
