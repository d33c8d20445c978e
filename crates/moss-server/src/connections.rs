//! Connections: limits of their number and speed, and graceful shutdown.

use std::{
    convert::Infallible, future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll,
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{Limits, socket::Socket, sse::KEEP_ALIVE, state::Shared};

/// Pause after an error of `accept`, most likely because file handles are exhausted.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Time to send the final bytes of aborted answers.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// Serves connections until `stop`, or until the failure time after an engine failure. Running
/// answers may finish within the drain time; then they are aborted.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    state: Shared,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(state.options.limits.connections));
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let (mut open, closing) = (JoinSet::new(), CancellationToken::new());
    let failed = async {
        state.failed.cancelled().await;
        // Health checks can see the failure before the port is closed.
        tokio::time::sleep(state.options.failure_time).await;
    };
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = failed => {}
        }
    };
    let mut stop = pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break }; // the semaphore is never closed
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok(accepted) => {
                open.spawn(connection(
                    accepted,
                    router.clone(),
                    state.clone(),
                    closing.clone(),
                    place,
                ));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    state.drain();
    closing.cancel();
    let seconds = state.options.drain_time.as_secs();
    tracing::info!(
        connections = open.len(),
        seconds,
        "waiting for running answers"
    );
    let mut all_closed = async |within| {
        tokio::time::timeout(within, async { while open.join_next().await.is_some() {} }).await
    };
    if all_closed(state.options.drain_time).await.is_err() {
        tracing::warn!("running answers are aborted");
        state.abandon.cancel();
        let _ = all_closed(FLUSH_TIME).await; // the remaining connections are closed
    }
}

async fn connection(
    (stream, peer): (TcpStream, SocketAddr),
    router: Router,
    state: Shared,
    closing: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    state.metrics.connections.inc();
    let limits = &state.options.limits;
    if let Err(error) = prepare(&stream, limits) {
        tracing::debug!(%error, %peer, "socket options could not be set");
    }
    let socket = Socket::new(stream);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        socket.begin();
        let (socket, answer) = (
            socket.clone(),
            router.clone().oneshot(request.map(Body::new)),
        );
        async move {
            let answer = answer.await?;
            socket.answered();
            Ok::<_, Infallible>(answer.map(|body| with_probe(body, socket.half_closed())))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .half_close(true)
        .max_buf_size(limits.header_bytes.max(8192));
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket.clone()), service));
    let served = async {
        tokio::select! {
            ended = poll_fn(|context| connection.as_mut().poll(context)) => ended,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        biased; // received bytes are read before the client counts as disconnected
        ended = served => {
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "connection ended");
            }
            tokio::select! {
                () = socket.linger() => {}
                () = closing.cancelled() => {}
            }
        }
        () = socket.gone() => tracing::debug!(%peer, "the client disconnected"),
    }
    state.metrics.connections.dec();
}

/// Adds a keep-alive comment to an event stream when the client closes its sending side. A reset in
/// response shows that the client has disconnected.
fn with_probe(body: Body, half_closed: CancellationToken) -> Body {
    if body.size_hint().exact().is_some() {
        return body; // it is complete
    }
    let mut events = body.into_data_stream();
    let mut half_closed = Some(Box::pin(half_closed.cancelled_owned()));
    Body::from_stream(stream::poll_fn(move |context| {
        if let Poll::Ready(event) = events.poll_next_unpin(context) {
            return Poll::Ready(event);
        }
        if half_closed
            .as_mut()
            .is_some_and(|closed| closed.as_mut().poll(context).is_ready())
        {
            half_closed = None;
            return Poll::Ready(Some(Ok(Bytes::from_static(KEEP_ALIVE))));
        }
        Poll::Pending
    }))
}

/// Sends small events immediately, and detects clients that vanish or stop reading.
fn prepare(stream: &TcpStream, limits: &Limits) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(limits.stall_time))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limits.stall_time))?;
    Ok(())
}
