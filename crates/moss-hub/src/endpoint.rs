//! Settings of hubs and downloads. The caller provides all of them; none come from the environment.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::{EndpointFault, HubError, ModelId};

/// The supported hubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// huggingface.co, and mirrors with the same API.
    #[default]
    HuggingFace,
    /// modelscope.cn.
    ModelScope,
}

impl Source {
    /// Returns the name of the newest commit in the cache's `refs` folder. ModelScope has no
    /// commits that the Python tools could find under `main`.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::HuggingFace => "main",
            Self::ModelScope => "modelscope",
        }
    }

    /// Returns the repository of a model. ModelScope has its copies of the published checkpoints
    /// under another organisation.
    pub(crate) fn repository(self, id: &ModelId) -> String {
        match self {
            Self::ModelScope if id.is_known() => format!("AI-ModelScope/{}", id.name()),
            _ => id.to_string(),
        }
    }

    /// Returns the default address.
    pub fn address(self) -> &'static str {
        match self {
            Self::HuggingFace => "https://huggingface.co",
            Self::ModelScope => "https://www.modelscope.cn",
        }
    }
}

/// Limits on slow and failing requests.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The longest time of a request. Its rate is measured over this time.
    pub window: Duration,
    /// The lowest rate in bytes per second. A faster request resumes where it stopped; a slower one
    /// counts as a failure.
    pub min_rate: u64,
    /// The number of consecutive failures, without a useful number of bytes between them, after
    /// which the download fails.
    pub attempts: u32,
    /// The pause after the first failure. It doubles up to a minute. A server's Retry-After header
    /// has priority.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            min_rate: 1024,
            attempts: 8,
            backoff: Duration::from_secs(1),
        }
    }
}

/// Settings of a hub and of downloads.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The hub's API.
    pub source: Source,
    /// The address of a mirror.
    pub endpoint: Option<String>,
    /// The access token. It is sent to the endpoint only, not to hosts that it redirects to.
    pub token: Option<String>,
    /// `http://`, `https://`, `socks4://` or `socks5://` with host and port.
    pub proxy: Option<String>,
    /// Hosts that are reached without the proxy, separated by commas.
    pub no_proxy: Option<String>,
    /// The hub's cache of models.
    pub cache: PathBuf,
    /// Forbids connections.
    pub offline: bool,
    /// The number of concurrent connections, for large files.
    pub connections: usize,
    /// Bytes per request.
    pub piece_bytes: u64,
    /// Limits on slow and failing requests.
    pub timeouts: Timeouts,
}

impl HubSettings {
    /// Returns the settings of huggingface.co.
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
            timeouts: Timeouts::default(),
        }
    }

    /// Returns the address of the hub, with a slash at the end so that paths can be joined to it.
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
