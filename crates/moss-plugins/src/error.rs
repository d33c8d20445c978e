//! Errors of calls. The model reads only that there is no result; these are for the user.

use moss_messages::Message;

use crate::{EquationError, ExpressionError};

/// The reason why a call has no result.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum PluginError {
    /// An expression has no value.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// Equations have no solution.
    #[error(transparent)]
    Equation(#[from] EquationError),
    /// The argument is empty.
    NoArgument,
    /// A plugin takes one argument.
    Arguments {
        /// Their number.
        found: usize,
    },
    /// The call took too long.
    TimedOut {
        /// The limit.
        seconds: f64,
    },
    /// The call was cancelled.
    Cancelled,
    /// The call panicked.
    Panicked,
    /// The search, or the program, returned nothing.
    Nothing,
    /// A request failed.
    #[cfg(feature = "http")]
    Http {
        /// The address, without a query.
        url: String,
        /// The fault.
        reason: HttpFault,
    },
    /// The address in the configuration is invalid.
    #[cfg(feature = "http")]
    Address {
        /// As given.
        address: String,
        /// The fault.
        reason: AddressFault,
    },
    /// A program failed.
    Program {
        /// The program, as configured.
        program: String,
        /// The fault.
        reason: ProgramFault,
    },
}

/// The fault of a program.
#[derive(Debug, Message)]
pub enum ProgramFault {
    /// The operating system cannot run it.
    Start(#[message(display)] std::io::Error),
    /// It ended with an exit status other than 0, or by a signal.
    Status {
        /// The exit status.
        status: Option<i32>,
        /// The start of its last line on stderr.
        message: String,
    },
    /// It took too long, and was ended.
    TimedOut,
}

/// The fault of a request.
#[cfg(feature = "http")]
#[derive(Debug, Message)]
pub enum HttpFault {
    /// The server's address is private or local, and was not configured.
    Private(String),
    /// The server redirects to another scheme, or to plain HTTP.
    Redirect(String),
    /// The server redirects too often.
    Redirects {
        /// The most redirects.
        limit: usize,
    },
    /// The response has an error status.
    Status(u16),
    /// The server does not permit JSON, as SearXNG does by default.
    NoJson,
    /// The response is too large.
    TooLarge {
        /// The most bytes.
        limit: u64,
    },
    /// The response took too long.
    TimedOut,
    /// The response has another format than expected.
    Format(String),
    /// The connection failed.
    Connection(String),
}

/// The fault of an address.
#[cfg(feature = "http")]
#[derive(Debug, Clone, PartialEq, Eq, Message)]
pub enum AddressFault {
    /// It is not an address.
    Malformed,
    /// Its scheme is not `http` or `https`.
    Scheme(String),
    /// It contains a name or a password.
    Credentials,
}
