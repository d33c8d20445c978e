//! Server-sent events in OpenAI's format: one `data:` line per event, comments as keep-alive, and
//! `[DONE]` at the end.
//!
//! The future that writes the events is part of the response's body, not a separate task. If the
//! client disconnects, the body is dropped, and the future with it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, Sleep, sleep},
};

use crate::error::ApiError;

/// Events are UTF-8 by definition, but Python's requests decodes text without a charset as Latin-1.
const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";
/// A comment that keeps the connection alive.
pub(crate) const KEEP_ALIVE: &[u8] = b": still here\n\n";
/// Maximum number of events that wait for the connection. Then the writer waits.
const AHEAD: usize = 16;

/// The sender of events.
pub(crate) struct Events(Sender<Bytes>);

impl Events {
    pub(crate) async fn send(&self, event: &impl Serialize) -> Result<(), ApiError> {
        self.put(data(event)).await
    }

    /// Sends the end of the stream.
    pub(crate) async fn done(&self) -> Result<(), ApiError> {
        self.put(Bytes::from_static(b"data: [DONE]\n\n")).await
    }

    async fn put(&self, event: Bytes) -> Result<(), ApiError> {
        self.0.send(event).await.map_err(|_| ApiError::Internal)
    }
}

fn data(event: &impl Serialize) -> Bytes {
    let mut line = b"data: ".to_vec();
    // Events contain only strings and numbers, so serialization cannot fail.
    let _ = serde_json::to_writer(&mut line, event);
    line.extend_from_slice(b"\n\n");
    line.into()
}

/// Returns a response with the events that `write` sends. Its error becomes the last event.
pub(crate) fn respond<F>(keep_alive: Duration, write: impl FnOnce(Events) -> F) -> Response
where
    F: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    let (sender, events) = channel(AHEAD);
    let writer: Writer = Box::pin(write(Events(sender)));
    let body = EventBody {
        writer: Some(writer),
        events,
        keep_alive,
        silence: Box::pin(sleep(keep_alive)),
    };
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Without this header, nginx buffers the events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

type Writer = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

struct EventBody {
    /// `None` once all events are written.
    writer: Option<Writer>,
    events: Receiver<Bytes>,
    keep_alive: Duration,
    silence: Pin<Box<Sleep>>,
}

impl EventBody {
    /// Returns all events that are ready, concatenated.
    fn ready(&mut self) -> Option<Bytes> {
        let first = self.events.try_recv().ok()?;
        let Ok(second) = self.events.try_recv() else {
            return Some(first);
        };
        let mut all = [first, second].concat();
        while let Ok(next) = self.events.try_recv() {
            all.extend_from_slice(&next);
        }
        Some(all.into())
    }

    fn show(&mut self, event: Bytes) -> Poll<Option<Result<Bytes, std::convert::Infallible>>> {
        let until = Instant::now() + self.keep_alive;
        self.silence.as_mut().reset(until);
        Poll::Ready(Some(Ok(event)))
    }
}

impl Stream for EventBody {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut failed = None;
        // A panic ends the stream with an error event.
        if let Some(writer) = &mut self.writer
            && let Poll::Ready(result) =
                catch_unwind(AssertUnwindSafe(|| writer.as_mut().poll(context)))
                    .unwrap_or(Poll::Ready(Err(ApiError::Internal)))
        {
            self.writer = None;
            failed = result.err();
        }
        if let Some(mut event) = self.ready() {
            if let Some(error) = failed {
                event = [event, data(&error.body())].concat().into();
            }
            return self.show(event);
        }
        if let Some(error) = failed {
            return self.show(data(&error.body()));
        }
        if self.writer.is_none() {
            return Poll::Ready(None);
        }
        ready!(self.silence.as_mut().poll(context));
        self.show(Bytes::from_static(KEEP_ALIVE))
    }
}
