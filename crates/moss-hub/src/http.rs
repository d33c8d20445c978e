//! Requests: redirects are followed here, so that the token stays with the host it is for.

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
};

const MAX_REDIRECTS: usize = 10;
/// A listing of files is some kilobytes.
const MAX_LISTING: u64 = 16 << 20;
/// A name is resolved and a connection accepted within seconds, or a firewall drops the packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A hub sends a listing, redirects and body included, within a few seconds.
const LISTING_TIMEOUT: Duration = Duration::from_secs(6);
/// Bytes of a body that show whether it is a page.
const BEGINNING: u64 = 512;

/// One pool of connections to a hub and to wherever it redirects.
pub(crate) struct Http {
    agent: Agent,
    base: Url,
    token: Option<String>,
    proxied: bool,
    listing_timeout: Duration,
}

/// What a request for a file must be answered with.
pub(crate) struct Expected<'a> {
    /// Bytes `start..end`, not empty.
    pub(crate) range: Range<u64>,
    /// Length of the whole file.
    pub(crate) size: u64,
    /// The file's hash in the hub's listing.
    pub(crate) etag: &'a str,
}

/// What is asked of an address.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// A small text, all of which must have come by then.
    Whole {
        deadline: Instant,
    },
    /// The length of a file, by its first byte.
    Length {
        deadline: Instant,
    },
    Stretch(&'a Expected<'a>),
}

impl Ask<'_> {
    fn range(&self) -> Option<Range<u64>> {
        match self {
            Self::Whole { .. } => None,
            Self::Length { .. } => Some(0..1),
            Self::Stretch(expected) => Some(expected.range.clone()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Whole { deadline } | Self::Length { deadline } => Some(*deadline),
            Self::Stretch(_) => None,
        }
    }
}

impl Http {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let timeout = Some(settings.patience.window);
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
        let listing_timeout = settings.patience.window.min(LISTING_TIMEOUT);
        Ok(Self {
            agent: config.new_agent(),
            base,
            token,
            proxied,
            listing_timeout,
        })
    }

    /// The hub's address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The text of a listing.
    pub(crate) fn text(&self, url: &Url) -> Result<String, Failure> {
        let deadline = Instant::now() + self.listing_timeout;
        let (mut response, url) = self.get(url, Ask::Whole { deadline })?;
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_LISTING)
            .read_to_string();
        let text = body.map_err(|error| {
            let fault = match error {
                ureq::Error::Timeout(_) => self.unanswered(&url, error, true),
                error => Fault::connection(error),
            };
            self.failure(&url, fault)
        })?;
        // Whatever its headers call it.
        if is_page(text.as_bytes()) {
            Err(self.failure(&url, Fault::Html))
        } else {
            Ok(text)
        }
    }

    /// A stretch of a file, whose headers were checked, and the address it comes from.
    pub(crate) fn range(
        &self,
        url: &Url,
        expected: &Expected<'_>,
    ) -> Result<(impl Read + use<>, Url), Failure> {
        let (response, url) = self.get(url, Ask::Stretch(expected))?;
        if let Err(fault) = check_stretch(&response, expected) {
            // A page has another length than the file, and is what the user has to know of.
            let is_page = response.status() == 200 && is_page(&beginning(response));
            return Err(self.failure(&url, if is_page { Fault::Html } else { fault }));
        }
        Ok((response.into_body().into_reader(), url))
    }

    /// The length of a file that the hub's listing does not tell.
    pub(crate) fn length(&self, url: &Url) -> Result<u64, Failure> {
        let deadline = Instant::now() + self.listing_timeout;
        let (response, url) = self.get(url, Ask::Length { deadline })?;
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

    /// Scheme, host and port are the hub's.
    fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn get(&self, url: &Url, ask: Ask<'_>) -> Result<(Response<Body>, Url), Failure> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.agent.get(url.as_str());
            if let Some(range) = ask.range() {
                request =
                    request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
            }
            if let Some(deadline) = ask.deadline() {
                let left = deadline.saturating_duration_since(Instant::now());
                request = request.config().timeout_global(Some(left)).build();
            }
            if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&url)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| {
                let is_small = ask.deadline().is_some();
                self.failure(&url, self.unanswered(&url, error, is_small))
            })?;
            if let Ask::Stretch(expected) = ask {
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
                // Hubs tell these in HTML too.
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

    /// Why no answer came. A host that accepts connections and never answers is as good as none for
    /// something small; for a file it may be busy.
    fn unanswered(&self, url: &Url, error: ureq::Error, is_small: bool) -> Fault {
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
                // How the TLS library's own errors come through a stream.
                ErrorKind::InvalidData => tls(text),
                // The standard library has no kind for a failed look-up.
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
        // As curl and Python have it: a name, with or without a dot before it, stands for the names
        // below it too.
        let bare = host.trim_start_matches('.');
        builder = builder.no_proxy(bare).no_proxy(&format!(".{bare}"));
    }
    builder.build().map(Some).map_err(bad)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn is_html(response: &Response<Body>) -> bool {
    let kind = header(response, "content-type")
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml")
}

/// The first bytes of an answer, as far as they come.
fn beginning(response: Response<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader();
    let _ = body.take(BEGINNING).read_to_end(&mut bytes); // what broke off may still tell
    bytes
}

/// Returns `true` for the beginning of an HTML page. No file of a checkpoint starts like one.
pub(crate) fn is_page(beginning: &[u8]) -> bool {
    let text = beginning.trim_ascii_start();
    let text = text
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(text)
        .trim_ascii_start();
    let starts_with = |tag: &str| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    };
    [
        "<!doctype html",
        "<html",
        "<head",
        "<script",
        "<meta",
        "<!--",
        "<?xml",
    ]
    .into_iter()
    .any(starts_with)
}

/// The hub names the file that it redirects to; storage behind it has hashes of its own kind.
fn check_etag(response: &Response<Body>, expected: &str) -> Result<(), Fault> {
    let found = header(response, "x-linked-etag").map(str::trim).map(|tag| {
        let strong = tag
            .strip_prefix("W/")
            .or_else(|| tag.strip_prefix("w/"))
            .unwrap_or(tag);
        strong.trim_matches('"')
    });
    match found {
        Some(found) if !found.eq_ignore_ascii_case(expected) => Err(Fault::Changed {
            found: found.to_owned(),
            expected: expected.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_stretch(response: &Response<Body>, expected: &Expected<'_>) -> Result<(), Fault> {
    let Expected { range, size, .. } = expected;
    if response.status() == 206 {
        let found = header(response, "content-range").unwrap_or_default();
        return match content_range(found) {
            Some((stretch, total))
                if stretch == *range && total.is_none_or(|total| total == *size) =>
            {
                Ok(())
            }
            _ => Err(Fault::Range {
                expected: format!("bytes {}-{}/{size}", range.start, range.end - 1),
                found: found.to_owned(),
            }),
        };
    }
    let length = header(response, "content-length").and_then(|text| text.trim().parse().ok());
    match length {
        Some(found) if found != *size => Err(Fault::Length {
            found,
            expected: *size,
        }),
        _ if *range != (0..*size) => Err(Fault::NoRanges),
        _ => Ok(()),
    }
}

/// Reads `bytes FIRST-LAST/TOTAL`; servers that do not know the total send `*` (RFC 9110, 14.4).
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let number = |text: &str| {
        let text = text.trim();
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())?
    };
    let (unit, rest) = text.trim().split_at_checked(5)?;
    if !unit.eq_ignore_ascii_case("bytes") || !rest.starts_with([' ', '\t', '=']) {
        return None;
    }
    let (stretch, total) = rest[1..].split_once('/')?;
    let (first, last) = stretch.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    Some((number(first)?..number(last)?.checked_add(1)?, total))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_in_any_case_and_with_an_unknown_total() {
        assert_eq!(content_range("bytes 0-9/10"), Some((0..10, Some(10))));
        assert_eq!(content_range("BYTES 5-9/*"), Some((5..10, None)));
        assert_eq!(
            content_range(" Bytes  5 - 9 / 10 "),
            Some((5..10, Some(10)))
        );
        let wrong = [
            "",
            "bytes",
            "bytes */10",
            "bytes 5-/10",
            "items 0-9/10",
            "bytes0-9/10",
            "bytes 0-9",
            "bytes +0-9/*",
        ];
        for text in [
            &wrong[..],
            &[
                "bytes 0-18446744073709551615/*",
                "字节 0-9/10",
                "byt字 0-9/10",
            ],
        ]
        .concat()
        {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn pages_are_told_from_files() {
        for page in [
            "<html>",
            "\n <!DOCTYPE HTML PUBLIC",
            "\u{feff}<!doctype html>",
            "<HEAD>",
            "<script>",
        ] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for file in ["", "<", "{}", "#version: 0.2", "<unk> 0", "PK\u{3}\u{4}"] {
            assert!(!is_page(file.as_bytes()), "{file}");
        }
    }
}
