//! The socket of a connection, with two additions to hyper:
//!
//! - A client that closes only its sending side (`nc -N`, scripts that call `shutdown`) still waits
//!   for its answer. A client that has disconnected closes its sending side too, but its system
//!   responds to bytes with a reset. So the first bytes of an answer, which are always the same,
//!   are sent early, and streams get a keep-alive comment.
//! - hyper rejects invalid HTTP requests with an empty body. It is replaced by a JSON error.

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;

/// The first bytes of every answer, with any version and status.
const BEGINNING: &[u8] = b"HTTP/1.";
/// Interval of checks while hyper has not read the received bytes.
const UNREAD: Duration = Duration::from_millis(50);
/// Time between the first two early bytes. It doubles with each further byte.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Time for a client to read the last answer of a connection while it is still sending.
const LINGER: Duration = Duration::from_secs(1);

/// A socket and the state of its exchange. Clones refer to the same socket.
#[derive(Clone)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    exchange: Arc<Mutex<Exchange>>,
    half_closed: CancellationToken,
}

#[derive(Default)]
struct Exchange {
    /// A request is being processed, and hyper has none of its answer yet.
    is_answer_due: bool,
    /// hyper has bytes that the socket did not accept yet.
    is_unflushed: bool,
    /// Number of bytes of [`BEGINNING`] that were sent before the answer.
    sent_early: usize,
    /// The replacement for hyper's error response.
    refusal: Option<Vec<u8>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream: Arc::new(stream),
            exchange: Arc::default(),
            half_closed: CancellationToken::new(),
        }
    }

    /// Must be called when a request starts.
    pub(crate) fn begin(&self) {
        self.exchange().is_answer_due = true;
    }

    /// Must be called when hyper gets the answer.
    pub(crate) fn answered(&self) {
        self.exchange().is_answer_due = false;
    }

    /// Returns a token that is cancelled when the client closes its sending side.
    pub(crate) fn half_closed(&self) -> CancellationToken {
        self.half_closed.clone()
    }

    /// Waits until the client has disconnected.
    pub(crate) async fn gone(&self) {
        loop {
            match self.stream.peek(&mut [0]).await {
                Ok(0) => break,
                Ok(_) => sleep(UNREAD).await,
                Err(_) => return,
            }
        }
        self.half_closed.cancel();
        let mut pause = FIRST_PAUSE;
        loop {
            self.send_early();
            // The reset that answers a byte arrives as an error.
            if let Ok(_gone) = timeout(pause, self.stream.ready(Interest::ERROR)).await {
                return;
            }
            pause *= 2;
        }
    }

    /// Sends another early byte of the pending answer, if there is one.
    fn send_early(&self) {
        let mut exchange = self.exchange();
        let is_next = exchange.is_answer_due && !exchange.is_unflushed;
        if let Some(byte) = BEGINNING.get(exchange.sent_early).filter(|_| is_next)
            && matches!(self.stream.try_write(&[*byte]), Ok(1))
        {
            exchange.sent_early += 1;
        }
    }

    /// Reads for a limited time what a client still sends. Closing a socket with unread bytes
    /// resets the connection, and the client would lose an unread answer.
    pub(crate) async fn linger(&self) {
        let _ = self.shut_down();
        let drain = async {
            let mut scrap = [0; 8192];
            while self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut scrap) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => break,
                }
            }
        };
        let _ = timeout(LINGER, drain).await;
    }

    fn shut_down(&self) -> io::Result<()> {
        SockRef::from(&*self.stream).shutdown(Shutdown::Write)
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to_socket(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Sends the rest of an error response.
    fn flush_refusal(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut exchange = self.exchange();
        while let Some(left) = exchange.refusal.as_mut().filter(|left| !left.is_empty()) {
            let written = ready!(self.write_to_socket(context, left))?;
            left.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let early = {
            let mut exchange = self.exchange();
            if !exchange.is_unflushed && exchange.refusal.is_none() {
                exchange.refusal = refusal(bytes);
            }
            if exchange.refusal.is_some() {
                // and nothing follows: hyper closes the connection
                return Poll::Ready(Ok(bytes.len()));
            }
            exchange.is_unflushed = true;
            exchange.sent_early.min(bytes.len())
        };
        let rest = &bytes[early..];
        let written = if rest.is_empty() {
            0
        } else {
            ready!(self.write_to_socket(context, rest))?
        };
        self.exchange().sent_early -= early;
        Poll::Ready(Ok(early + written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush_refusal(context))?;
        self.exchange().is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush_refusal(context))?;
        Poll::Ready(self.shut_down())
    }
}

/// Returns the replacement for an error response of hyper. Responses of the routes have a header
/// that hyper's responses lack.
fn refusal(bytes: &[u8]) -> Option<Vec<u8>> {
    let status = bytes.strip_prefix(BEGINNING)?.get(2..5)?;
    let error = match status {
        b"400" => ApiError::NotHttp,
        b"414" => ApiError::UriTooLong,
        b"431" => ApiError::HeadTooLarge,
        _ => return None,
    };
    let has_header = |name: &[u8]| {
        bytes
            .windows(name.len())
            .any(|at| at.eq_ignore_ascii_case(name))
    };
    if has_header(b"x-content-type-options") {
        return None;
    }
    let status = error.status();
    let body = serde_json::to_string(&error.body()).ok()?;
    let reason = status.canonical_reason().unwrap_or_default();
    Some(
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
             x-content-type-options: nosniff\r\n\r\n{body}",
            status.as_u16(),
            body.len()
        )
        .into_bytes(),
    )
}
