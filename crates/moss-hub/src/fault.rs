//! Errors of one request, and the decision whether to retry.

use std::time::Duration;

use moss_messages::Message;
use url::Url;

/// A reason why a host cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum UnreachableReason {
    /// Its name cannot be resolved.
    Name,
    /// It refuses the connection.
    Refused,
    /// There is no route to it.
    Network,
    /// It does not respond.
    NoAnswer,
    /// The proxy does not connect to it; with the message.
    Proxy(String),
}

/// The error of one request.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum Fault {
    /// A response with another status than success.
    Status {
        /// The HTTP status.
        status: u16,
        /// The pause that the server requests.
        #[message(skip)]
        retry_after: Option<Duration>,
    },
    /// The connection failed.
    Connection {
        /// The message of the system or of the HTTP library.
        reason: String,
    },
    /// The response ended too early.
    CutOff {
        /// The number of missing bytes.
        bytes: u64,
    },
    /// No connection: the name does not resolve, or the connection is refused.
    Unreachable {
        /// The host.
        host: String,
        /// Is true if a proxy is used.
        proxied: bool,
        /// The reason.
        reason: UnreachableReason,
    },
    /// The certificate is not valid for the host: a login page, a proxy that inspects traffic, or a
    /// wrong clock.
    Tls {
        /// The host.
        host: String,
        /// The message of the TLS library.
        reason: String,
    },
    /// The transfer was too slow.
    Stalled {
        /// Bytes received.
        bytes: u64,
        /// The time in which they were received.
        seconds: f64,
    },
    /// An HTML page instead of a file: a login page of the network, or a mirror's notice.
    Html,
    /// A length that differs from the hub's listing.
    Length {
        /// The length in the response.
        found: u64,
        /// The length in the listing.
        expected: u64,
    },
    /// A range of the file that was not requested.
    Range {
        /// The range and the file's length, as in Content-Range.
        expected: String,
        /// The header of the response.
        found: String,
    },
    /// The server does not support ranges, so downloads cannot resume.
    NoRanges,
    /// The file has changed since the listing.
    Changed {
        /// The hash in the response.
        found: String,
        /// The hash in the listing.
        expected: String,
    },
    /// A redirect to an invalid address.
    RedirectTo(String),
    /// A chain of redirects that exceeds the limit.
    TooManyRedirects {
        /// The most redirects.
        limit: usize,
    },
}

impl Fault {
    pub(crate) fn connection(error: impl ToString) -> Self {
        Self::Connection {
            reason: error.to_string(),
        }
    }

    /// Returns true if the connection ended before the response did.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::CutOff { .. })
    }
}

/// The error of a request, with its address.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The address after redirects, without its query, which may contain a signature.
    pub(crate) url: String,
    pub(crate) fault: Fault,
    /// Status of a response that was an HTML page.
    pub(crate) page_status: Option<u16>,
    /// Is true if the response is the hub's, and not that of a host that it redirects to.
    pub(crate) from_hub: bool,
}

impl Failure {
    /// Returns `true` if a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match &self.fault {
            // Network authentication required.
            Fault::Status { status: 511, .. } => false,
            Fault::Status {
                status: 408 | 425 | 429 | 500..=599,
                ..
            } => true,
            // Signed addresses expire: the hub returns new ones.
            Fault::Status {
                status: 401 | 403, ..
            } => !self.from_hub,
            Fault::Connection { .. }
            | Fault::CutOff { .. }
            | Fault::Unreachable { .. }
            | Fault::Stalled { .. } => true,
            // Gateways send their errors as HTML.
            Fault::Html if self.page_status.is_some_and(|status| status >= 500) => true,
            // The user has to log in; a retry would return the same page.
            Fault::Html
            | Fault::Tls { .. }
            | Fault::Status { .. }
            | Fault::Length { .. }
            | Fault::Range { .. }
            | Fault::NoRanges
            | Fault::Changed { .. }
            | Fault::RedirectTo(_)
            | Fault::TooManyRedirects { .. } => false,
        }
    }

    /// Returns the most attempts before the first byte of a file. Without a network, or with a
    /// blocked host, more attempts only delay the error.
    pub(crate) fn first_attempts(&self) -> Option<u32> {
        match self.fault {
            Fault::Unreachable { .. } | Fault::Html => Some(2),
            Fault::Status {
                status: 401 | 403, ..
            } => Some(3),
            _ => None,
        }
    }
}

/// Returns an address without credentials and signatures, for messages.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.to_string()
}
