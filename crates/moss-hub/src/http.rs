//! HTTP requests. Redirects are followed here, so that the token is sent to the hub only.

use std::{
    io::{ErrorKind, Read},
    ops::Range,
    time::{Duration, Instant},
};

use ureq::{Agent, Body, Proxy, Timeout, http::Response};
use url::Url;

use crate::{
    HubError, HubSettings, UnreachableReason,
    fault::{Failure, Fault, shown},
    response::{Expected, check_etag, check_range, content_range, header, is_html, is_page, start},
};

const MAX_REDIRECTS: usize = 10;
/// The longest listing, in bytes. Listings have some kilobytes.
const MAX_LISTING: u64 = 16 << 20;
/// Resolving a name and connecting take seconds, unless a firewall drops the packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time of a listing, with redirects and body. Hubs need at most a few seconds.
const LISTING_TIMEOUT: Duration = Duration::from_secs(6);
/// A connection pool for a hub and the hosts that it redirects to.
pub(crate) struct Http {
    agent: Agent,
    base: Url,
    token: Option<String>,
    proxied: bool,
    listing_timeout: Duration,
}

/// A request to an address.
#[derive(Clone, Copy)]
enum Request<'a> {
    /// A small text, which must be complete by the deadline.
    Text { deadline: Instant },
    /// The length of a file, from a request for its first byte.
    Length { deadline: Instant },
    /// A range of a file.
    Range(&'a Expected<'a>),
}

impl Request<'_> {
    fn range(&self) -> Option<Range<u64>> {
        match self {
            Self::Text { .. } => None,
            Self::Length { .. } => Some(0..1),
            Self::Range(expected) => Some(expected.range.clone()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Text { deadline } | Self::Length { deadline } => Some(*deadline),
            Self::Range(_) => None,
        }
    }
}

impl Http {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let timeout = Some(settings.timeouts.window);
        let connect_timeout = timeout.map(|timeout| timeout.min(CONNECT_TIMEOUT));
        let proxy = proxy(settings)?;
        let proxied = proxy.is_some();
        let config = Agent::config_builder()
            .proxy(proxy) // never the environment's
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("moss-rs/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(connect_timeout)
            .timeout_connect(connect_timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_recv_body(timeout)
            .max_idle_connections_per_host(settings.connections)
            .build();
        let (base, token) = (settings.base()?, settings.token.clone());
        let listing_timeout = settings.timeouts.window.min(LISTING_TIMEOUT);
        Ok(Self {
            agent: config.new_agent(),
            base,
            token,
            proxied,
            listing_timeout,
        })
    }

    /// Returns the hub's address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Fetches the text of a listing.
    pub(crate) fn text(&self, url: &Url) -> Result<String, Failure> {
        let deadline = Instant::now() + self.listing_timeout;
        let (mut response, url) = self.get(url, Request::Text { deadline })?;
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_LISTING)
            .read_to_string();
        let text = body.map_err(|error| {
            let fault = match error {
                ureq::Error::Timeout(_) => self.request_error(&url, error, true),
                error => Fault::connection(error),
            };
            self.failure(&url, fault)
        })?;
        // Its headers may be wrong.
        if is_page(text.as_bytes()) {
            Err(self.failure(&url, Fault::Html))
        } else {
            Ok(text)
        }
    }

    /// Requests a range of a file. Returns its bytes and its address, after redirects.
    pub(crate) fn range(
        &self,
        url: &Url,
        expected: &Expected<'_>,
    ) -> Result<(impl Read + use<>, Url), Failure> {
        let (response, url) = self.get(url, Request::Range(expected))?;
        if let Err(fault) = check_range(&response, expected) {
            // A page has another length than the file; the page is the cause that matters.
            let is_page = response.status() == 200 && is_page(&start(response));
            return Err(self.failure(&url, if is_page { Fault::Html } else { fault }));
        }
        Ok((response.into_body().into_reader(), url))
    }

    /// Fetches the length of a file that the hub's listing lacks.
    pub(crate) fn length(&self, url: &Url) -> Result<u64, Failure> {
        let deadline = Instant::now() + self.listing_timeout;
        let (response, url) = self.get(url, Request::Length { deadline })?;
        let found = header(&response, "content-range").unwrap_or_default();
        let length = match response.status().as_u16() {
            206 => content_range(found).and_then(|(_, total)| total),
            _ => header(&response, "content-length").and_then(|text| text.trim().parse().ok()),
        };
        length.ok_or_else(|| {
            let (expected, found) = ("0-0/LENGTH".to_owned(), found.to_owned());
            self.failure(&url, Fault::Range { expected, found })
        })
    }

    pub(crate) fn failure(&self, url: &Url, fault: Fault) -> Failure {
        Failure {
            url: shown(url),
            fault,
            page_status: None,
            from_hub: self.is_hub(url),
        }
    }

    /// Returns `true` if scheme, host and port are the hub's.
    fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn get(&self, url: &Url, kind: Request<'_>) -> Result<(Response<Body>, Url), Failure> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.agent.get(url.as_str());
            if let Some(range) = kind.range() {
                request =
                    request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
            }
            if let Some(deadline) = kind.deadline() {
                let left = deadline.saturating_duration_since(Instant::now());
                request = request.config().timeout_global(Some(left)).build();
            }
            if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&url)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| {
                let is_small = kind.deadline().is_some();
                self.failure(&url, self.request_error(&url, error, is_small))
            })?;
            if let Request::Range(expected) = kind {
                check_etag(&response, expected.etag).map_err(|fault| self.failure(&url, fault))?;
            }
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let next = header(&response, "location").unwrap_or_default();
                    url = match url.join(next) {
                        Ok(next) if matches!(next.scheme(), "http" | "https") => next,
                        _ => {
                            return Err(self.failure(&url, Fault::RedirectTo(next.to_owned())));
                        }
                    };
                }
                200 | 206 if is_html(&response) => return Err(self.failure(&url, Fault::Html)),
                200 | 206 => return Ok((response, url)),
                // Hubs send these errors as HTML too.
                status if !matches!(status, 401 | 403 | 404 | 429) && is_html(&response) => {
                    return Err(Failure {
                        page_status: Some(status),
                        ..self.failure(&url, Fault::Html)
                    });
                }
                status => {
                    let retry_after =
                        header(&response, "retry-after").and_then(|text| text.trim().parse().ok());
                    let retry_after = retry_after.map(Duration::from_secs);
                    return Err(self.failure(
                        &url,
                        Fault::Status {
                            status,
                            retry_after,
                        },
                    ));
                }
            }
        }
        Err(self.failure(
            &url,
            Fault::TooManyRedirects {
                limit: MAX_REDIRECTS,
            },
        ))
    }

    /// Converts the error of a request without a response. For a small request, a host that does not
    /// respond counts as unreachable; for a file, it may be busy.
    fn request_error(&self, url: &Url, error: ureq::Error, is_small: bool) -> Fault {
        let name = url.host_str().unwrap_or_default();
        let unreachable = |reason| Fault::Unreachable {
            host: name.to_owned(),
            proxied: self.proxied,
            reason,
        };
        let tls = |reason: String| Fault::Tls {
            host: name.to_owned(),
            reason,
        };
        let text = error.to_string();
        match &error {
            ureq::Error::HostNotFound => unreachable(UnreachableReason::Name),
            ureq::Error::Timeout(Timeout::Resolve) => unreachable(UnreachableReason::Name),
            ureq::Error::Timeout(Timeout::Connect) => unreachable(UnreachableReason::NoAnswer),
            ureq::Error::Timeout(_) if is_small => unreachable(UnreachableReason::NoAnswer),
            ureq::Error::ConnectProxyFailed(reason) => {
                unreachable(UnreachableReason::Proxy((*reason).to_string()))
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => tls(text),
            ureq::Error::Io(io) => match io.kind() {
                ErrorKind::ConnectionRefused => unreachable(UnreachableReason::Refused),
                ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable => unreachable(UnreachableReason::Network),
                // The TLS library's errors have this kind when they come from a stream.
                ErrorKind::InvalidData => tls(text),
                // The standard library has no error kind for a failed lookup.
                _ if text.contains("failed to lookup address") => {
                    unreachable(UnreachableReason::Name)
                }
                _ => Fault::connection(text),
            },
            _ => Fault::connection(text),
        }
    }
}

fn proxy(settings: &HubSettings) -> Result<Option<Proxy>, HubError> {
    let Some(text) = &settings.proxy else {
        return Ok(None);
    };
    let bad = |error: ureq::Error| HubError::BadProxy {
        reason: error.to_string(),
    };
    let plain = Proxy::new(text).map_err(bad)?;
    let mut builder = Proxy::builder(plain.protocol())
        .host(plain.host())
        .port(plain.port());
    builder = builder.resolve_target(plain.resolve_target());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    let hosts = settings.no_proxy.iter().flat_map(|list| list.split(','));
    for host in hosts.map(str::trim).filter(|host| !host.is_empty()) {
        // As in curl and Python, a name with or without a leading dot includes its subdomains.
        let bare = host.trim_start_matches('.');
        builder = builder.no_proxy(bare).no_proxy(&format!(".{bare}"));
    }
    builder.build().map(Some).map_err(bad)
}
