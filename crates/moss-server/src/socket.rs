//! The socket under a connection. It does for hyper what hyper does not:
//!
//! - A client that closes its sending side alone (`nc -N`, scripts that call `shutdown`) waits for
//!   its answer; one that has gone closes its sending side too. Only bytes tell them apart: the
//!   system of a client that has gone replies to them with a reset. So the first bytes of an
//!   answer, which are the same for every answer, are sent early, and streams are sent a sign of
//!   life.
//! - Requests that are no HTTP are refused by hyper itself, with an empty body. They get one that
//!   clients can read.

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

/// What every answer begins with, whatever its version and status.
const BEGINNING: &[u8] = b"HTTP/1.";
/// Between two looks at bytes that hyper has not read yet.
const UNREAD: Duration = Duration::from_millis(50);
/// Between the first two early bytes; twice as long before each one that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// For a client to read the last answer of a connection while it is still sending.
const LINGER: Duration = Duration::from_secs(1);

/// A socket, and where its exchange of requests and answers stands. Clones are the same socket.
#[derive(Clone)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    exchange: Arc<Mutex<Exchange>>,
    half_closed: CancellationToken,
}

#[derive(Default)]
struct Exchange {
    /// A request is at work, and nothing of its answer has been handed over.
    is_answer_due: bool,
    /// hyper holds bytes back that the socket did not take.
    is_unflushed: bool,
    /// Bytes of [`BEGINNING`] that were sent ahead of an answer.
    sent_early: usize,
    /// What is sent instead of hyper's own refusal.
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

    /// A request is at work.
    pub(crate) fn begin(&self) {
        self.exchange().is_answer_due = true;
    }

    /// Its answer is handed to hyper.
    pub(crate) fn answered(&self) {
        self.exchange().is_answer_due = false;
    }

    /// Cancelled once the client has closed its sending side.
    pub(crate) fn half_closed(&self) -> CancellationToken {
        self.half_closed.clone()
    }

    /// Waits until the client has gone.
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

    /// Sends one more byte of the answer that is due, if there is one.
    fn send_early(&self) {
        let mut exchange = self.exchange();
        let is_next = exchange.is_answer_due && !exchange.is_unflushed;
        if let Some(byte) = BEGINNING.get(exchange.sent_early).filter(|_| is_next)
            && matches!(self.stream.try_write(&[*byte]), Ok(1))
        {
            exchange.sent_early += 1;
        }
    }

    /// Reads what a client still sends, for a while: closing a socket with unread bytes resets the
    /// connection, and the client would lose an answer that it has not read yet.
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

    /// Sends what is left of a refusal.
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

/// The answer instead of a refusal that is hyper's own: those of the routes have a header that
/// hyper's do not.
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
