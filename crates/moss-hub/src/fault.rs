//! What can be wrong with one request, and whether another try may help.

use std::time::Duration;

use moss_messages::Message;
use url::Url;

/// Why a host cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum UnreachableReason {
    /// Its name cannot be resolved.
    Name,
    /// It refuses the connection.
    Refused,
    /// No route leads to it.
    Network,
    /// It does not answer.
    NoAnswer,
    /// The proxy does not connect to it, and says this.
    Proxy(String),
}

/// One request's failure.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum Fault {
    /// An answer other than the file.
    Status {
        /// As in the answer.
        status: u16,
        /// How long the server asks us to wait.
        #[message(skip)]
        retry_after: Option<Duration>,
    },
    /// The connection failed.
    Connection {
        /// What the system or the HTTP library said.
        reason: String,
    },
    /// The answer ended too early.
    CutOff {
        /// Bytes that are missing.
        bytes: u64,
    },
    /// No connection could be made: the name does not resolve, or the connection is refused.
    Unreachable {
        /// The host.
        host: String,
        /// Whether a proxy stands between.
        proxied: bool,
        /// Why not.
        reason: UnreachableReason,
    },
    /// The other end does not prove to be the host: a login page, a proxy that inspects traffic, or
    /// a wrong clock.
    Tls {
        /// The host.
        host: String,
        /// What the TLS library says.
        reason: String,
    },
    /// Bytes came too slowly.
    Stalled {
        /// What came within the window.
        bytes: u64,
        /// The window.
        seconds: f64,
    },
    /// A page in place of a file: a login page of the network, or a mirror's notice.
    Html,
    /// Another length than the hub's listing says.
    Length {
        /// What was announced.
        found: u64,
        /// What the listing says.
        expected: u64,
    },
    /// Another stretch of the file than was asked for.
    Range {
        /// The stretch with the file's length, as Content-Range has it.
        expected: String,
        /// The header that came.
        found: String,
    },
    /// The server sends whole files alone, so that nothing could be resumed.
    NoRanges,
    /// Another file than the listing named.
    Changed {
        /// Of the answer.
        found: String,
        /// Of the listing.
        expected: String,
    },
    /// The answer points to an address that is none.
    RedirectTo(String),
    /// The answers point from one address to the next.
    TooManyRedirects {
        /// Redirects that are followed.
        limit: usize,
    },
}

impl Fault {
    pub(crate) fn connection(error: impl ToString) -> Self {
        Self::Connection {
            reason: error.to_string(),
        }
    }

    /// Returns true if the connection ended before the answer did.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::CutOff { .. })
    }
}

/// A fault, and the address that it came from.
#[derive(Debug)]
pub(crate) struct Failure {
    /// After redirects; without its query, which may carry a signature.
    pub(crate) url: String,
    pub(crate) fault: Fault,
    /// Status of an answer that was an HTML page.
    pub(crate) page_status: Option<u16>,
    /// Whether the hub itself answered, and not a host that it sent us to.
    pub(crate) from_hub: bool,
}

impl Failure {
    /// Whether the same request may do better.
    pub(crate) fn is_transient(&self) -> bool {
        match &self.fault {
            // The network wants a login first.
            Fault::Status { status: 511, .. } => false,
            Fault::Status {
                status: 408 | 425 | 429 | 500..=599,
                ..
            } => true,
            // Signed addresses expire: the hub gives new ones.
            Fault::Status {
                status: 401 | 403, ..
            } => !self.from_hub,
            Fault::Connection { .. }
            | Fault::CutOff { .. }
            | Fault::Unreachable { .. }
            | Fault::Stalled { .. } => true,
            // Gateways tell their troubles in HTML.
            Fault::Html if self.page_status.is_some_and(|status| status >= 500) => true,
            // Somebody has to log in; the same request would be answered with the same page.
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

    /// Number of attempts that are worth it while no byte of the file has come: without a network,
    /// or with a host that is blocked, more of them only delay the message.
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

/// An address fit to be shown.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.to_string()
}
