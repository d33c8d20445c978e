//! Requests: redirects are followed here, so that the token stays with the host it is for.

use std::{io::Read, ops::Range, time::Duration};

use ureq::{Agent, Body, Proxy, http::Response};
use url::Url;

use crate::{
    HubError, HubSettings,
    fault::{Failure, Fault, shown},
};

const MAX_REDIRECTS: usize = 10;
/// A listing of files is some kilobytes.
const MAX_LISTING: u64 = 16 << 20;

/// One pool of connections to a hub and to wherever it redirects.
pub(crate) struct Http {
    agent: Agent,
    base: Url,
    token: Option<String>,
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

impl Http {
    pub(crate) fn new(settings: &HubSettings) -> Result<Self, HubError> {
        let timeout = Some(settings.patience.window);
        let config = Agent::config_builder()
            .proxy(proxy(settings)?) // never the environment's
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("moss-rs/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_recv_body(timeout)
            .max_idle_connections_per_host(settings.connections)
            .build();
        Ok(Self { agent: config.new_agent(), base: settings.base()?, token: settings.token.clone() })
    }

    /// The hub's address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The text of a listing.
    pub(crate) fn text(&self, url: &Url) -> Result<String, Failure> {
        let (mut response, url) = self.get(url, None)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING).read_to_string();
        body.map_err(|error| self.failure(&url, Fault::Connection(error.to_string())))
    }

    /// A stretch of a file, whose headers were checked, and the address it comes from.
    pub(crate) fn range(
        &self,
        url: &Url,
        expected: &Expected<'_>,
    ) -> Result<(impl Read + use<>, Url), Failure> {
        let (response, url) = self.get(url, Some(expected))?;
        check_stretch(&response, expected).map_err(|fault| self.failure(&url, fault))?;
        Ok((response.into_body().into_reader(), url))
    }

    pub(crate) fn failure(&self, url: &Url, fault: Fault) -> Failure {
        Failure { url: shown(url), fault, from_hub: self.is_hub(url) }
    }

    /// Scheme, host and port are the hub's.
    fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn get(&self, url: &Url, expected: Option<&Expected<'_>>) -> Result<(Response<Body>, Url), Failure> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.agent.get(url.as_str());
            if let Some(Expected { range, .. }) = expected {
                request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
            }
            if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&url)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response =
                request.call().map_err(|error| self.failure(&url, Fault::Connection(error.to_string())))?;
            if let Some(expected) = expected {
                check_etag(&response, expected.etag).map_err(|fault| self.failure(&url, fault))?;
            }
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => {
                    let next = header(&response, "location").unwrap_or_default();
                    url = match url.join(next) {
                        Ok(next) if matches!(next.scheme(), "http" | "https") => next,
                        _ => return Err(self.failure(&url, Fault::Redirect(format!("to `{next}`")))),
                    };
                }
                200 | 206 if is_html(&response) => return Err(self.failure(&url, Fault::Html)),
                200 | 206 => return Ok((response, url)),
                status => {
                    let retry_after =
                        header(&response, "retry-after").and_then(|text| text.trim().parse().ok());
                    let retry_after = retry_after.map(Duration::from_secs);
                    return Err(self.failure(&url, Fault::Status { status, retry_after }));
                }
            }
        }
        Err(self.failure(&url, Fault::Redirect(format!("more than {MAX_REDIRECTS} times"))))
    }
}

fn proxy(settings: &HubSettings) -> Result<Option<Proxy>, HubError> {
    let Some(text) = &settings.proxy else { return Ok(None) };
    let bad = |error: ureq::Error| HubError::BadProxy { reason: error.to_string() };
    let plain = Proxy::new(text).map_err(bad)?;
    let mut builder = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    builder = builder.resolve_target(plain.resolve_target());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    let hosts = settings.no_proxy.iter().flat_map(|list| list.split(','));
    for host in hosts.map(str::trim).filter(|host| !host.is_empty()) {
        // As curl and Python have it: a name, with or without a dot before it, stands for the names below it too.
        let bare = host.trim_start_matches('.');
        builder = builder.no_proxy(bare).no_proxy(&format!(".{bare}"));
    }
    builder.build().map(Some).map_err(bad)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn is_html(response: &Response<Body>) -> bool {
    header(response, "content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html"))
}

/// The hub names the file that it redirects to; storage behind it has hashes of its own kind.
fn check_etag(response: &Response<Body>, expected: &str) -> Result<(), Fault> {
    let found = header(response, "x-linked-etag").map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    match found {
        Some(found) if found != expected => {
            Err(Fault::Changed { found: found.to_owned(), expected: expected.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_stretch(response: &Response<Body>, expected: &Expected<'_>) -> Result<(), Fault> {
    let Expected { range, size, .. } = expected;
    if response.status() == 206 {
        let wanted = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let found = header(response, "content-range").unwrap_or_default();
        return if found == wanted {
            Ok(())
        } else {
            Err(Fault::Range { expected: wanted, found: found.to_owned() })
        };
    }
    let length = header(response, "content-length").and_then(|text| text.parse().ok());
    match length {
        Some(found) if found != *size => Err(Fault::Length { found, expected: *size }),
        _ if *range != (0..*size) => Err(Fault::NoRanges),
        _ => Ok(()),
    }
}
