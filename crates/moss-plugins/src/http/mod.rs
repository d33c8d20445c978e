//! HTTP requests with limits on addresses, redirects, sizes and times.

mod address;

use std::{
    io::{ErrorKind, Read},
    time::{Duration, Instant},
};

use ureq::{Agent, Body, Error, http::Response, unversioned::transport::DefaultConnector};
use url::Url;

use self::address::PublicResolver;
use crate::{AddressFault, HttpFault, PluginError};

/// The most redirects of a request.
const MAX_REDIRECTS: usize = 3;

/// A server of the user's configuration.
///
/// Requests go to this server, and to where it redirects: over HTTPS, if it is reached over HTTPS,
/// and only to public addresses, except its own.
#[derive(Clone)]
pub struct Endpoint {
    base: Url,
    key: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.base)
    }
}

impl Endpoint {
    /// Creates an endpoint from an address such as `https://search.example` or
    /// `http://localhost:8888/searxng`.
    ///
    /// # Errors
    /// [`PluginError::Address`].
    pub fn new(address: &str) -> Result<Self, PluginError> {
        let failed = |reason| PluginError::Address {
            address: address.to_owned(),
            reason,
        };
        let mut base = Url::parse(address).map_err(|_| failed(AddressFault::Malformed))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(failed(AddressFault::Scheme(base.scheme().to_owned())));
        }
        if !base.username().is_empty() || base.password().is_some() {
            // The address would be shown in messages.
            let _ = base.set_username("");
            let _ = base.set_password(None);
            return Err(PluginError::Address {
                address: base.into(),
                reason: AddressFault::Credentials,
            });
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base, key: None })
    }

    /// Sets the key that is sent as `Authorization: Bearer`, to this server only.
    #[must_use]
    pub fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    agent: Agent,
}

/// A request.
pub(crate) struct Request {
    pub(crate) url: Url,
    /// A JSON document to send; `None` for a GET request.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) max_bytes: u64,
    /// The longest time, with redirects and body.
    pub(crate) timeout: Duration,
}

/// A request without a response.
pub(crate) struct Failure {
    pub(crate) url: Url,
    pub(crate) fault: HttpFault,
}

impl From<Failure> for PluginError {
    fn from(Failure { mut url, fault }: Failure) -> Self {
        url.set_query(None);
        Self::Http {
            url: url.into(),
            reason: fault,
        }
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("moss-rs/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = PublicResolver::new(&endpoint.base);
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), resolver),
            endpoint,
        }
    }

    /// Returns the address of a path.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.base.clone();
        url.set_path(&format!("{}{path}", url.path()));
        url
    }

    /// Returns the error of a response that cannot be parsed.
    pub(crate) fn format_error(&self, path: &str, reason: &dyn std::fmt::Display) -> PluginError {
        let (url, fault) = (self.url(path), HttpFault::Format(reason.to_string()));
        Failure { url, fault }.into()
    }

    /// Sends a request, follows redirects, and returns the body.
    pub(crate) fn send(&self, request: Request) -> Result<Vec<u8>, Failure> {
        let Request {
            mut url,
            mut body,
            max_bytes,
            timeout,
        } = request;
        let deadline = Instant::now() + timeout;
        for _ in 0..=MAX_REDIRECTS {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = |fault| Failure {
                url: url.clone(),
                fault,
            };
            let response = self.once(&url, body.as_deref(), left);
            let response = response.map_err(|error| failed(fault(error)))?;
            let status = response.status().as_u16();
            match status {
                200..=299 => return read(response, max_bytes).map_err(failed),
                301..=303 | 307 | 308 => {
                    let next = response.headers().get("location");
                    let next = next.and_then(|next| next.to_str().ok()).unwrap_or_default();
                    let target = url
                        .join(next)
                        .ok()
                        .filter(|target| is_allowed(&url, target));
                    let target =
                        target.ok_or_else(|| failed(HttpFault::Redirect(next.to_owned())))?;
                    if status < 307 {
                        body = None;
                    }
                    url = target;
                }
                status => return Err(failed(HttpFault::Status(status))),
            }
        }
        let limit = MAX_REDIRECTS;
        let fault = HttpFault::Redirects { limit };
        Err(Failure { url, fault })
    }

    fn once(
        &self,
        url: &Url,
        body: Option<&[u8]>,
        left: Duration,
    ) -> Result<Response<Body>, Error> {
        let is_own = url.origin() == self.endpoint.base.origin();
        let key = self.endpoint.key.as_ref().filter(|_| is_own);
        let key = key.map(|key| format!("Bearer {key}"));
        let left = Some(left);
        match body {
            Some(body) => {
                let mut request = self
                    .agent
                    .post(url.as_str())
                    .config()
                    .timeout_global(left)
                    .build();
                if let Some(key) = key {
                    request = request.header("authorization", key);
                }
                request
                    .header("content-type", "application/json")
                    .send(body)
            }
            None => {
                let mut request = self
                    .agent
                    .get(url.as_str())
                    .config()
                    .timeout_global(left)
                    .build();
                if let Some(key) = key {
                    request = request.header("authorization", key);
                }
                request.call()
            }
        }
    }
}

/// Returns true if a redirect keeps the protection of the connection.
pub(crate) fn is_allowed(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (from.scheme() == "http" && to.scheme() == "http")
}

fn read(response: Response<Body>, limit: u64) -> Result<Vec<u8>, HttpFault> {
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader();
    body.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => HttpFault::TimedOut,
            _ => fault(Error::from(error)),
        })?;
    if bytes.len() as u64 > limit {
        return Err(HttpFault::TooLarge { limit });
    }
    Ok(bytes)
}

/// Converts the error of a request.
fn fault(error: Error) -> HttpFault {
    match error {
        Error::Timeout(_) => HttpFault::TimedOut,
        Error::Io(error) if address::is_refusal(&error) => HttpFault::Private(error.to_string()),
        error => HttpFault::Connection(error.to_string()),
    }
}
