//! The health of an engine: its open requests, its heartbeat, and the fault that stopped it.
//!
//! Shared between the worker thread, the handles and the watchdog, so that the watchdog can end
//! requests while the worker thread is blocked in the model.

use std::{collections::HashMap, time::Duration};

use crate::{
    EngineError, Event, EventSink,
    speed::Speed,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        thread,
    },
};

/// Receives the fault that stopped an engine; see [`crate::Engine::on_fault`].
pub type FaultListener = Box<dyn FnOnce(EngineError) + Send>;

/// State that does not need the worker thread.
#[derive(Default)]
pub(crate) struct Health {
    requests: Mutex<Requests>,
    /// Is true if [`Requests::fault`] is set; read without the lock.
    failed: AtomicBool,
    /// Counts every sign of progress.
    beats: AtomicU64,
    /// Tokens of the running forward batch; 0 while the engine is idle.
    step_tokens: AtomicUsize,
    pub(crate) speed: Speed,
}

#[derive(Default)]
struct Requests {
    open: HashMap<u64, Weak<EventSender>>,
    fault: Option<EngineError>,
    listeners: Vec<FaultListener>,
}

impl Health {
    /// Registers a request. If the engine has failed already, the request fails immediately.
    pub(crate) fn open(
        self: &Arc<Self>,
        id: u64,
        prompt_tokens: usize,
        sink: EventSink,
    ) -> Arc<EventSender> {
        let (sink, pending) = (Mutex::new(Some(sink)), AtomicUsize::new(prompt_tokens));
        let sender = Arc::new(EventSender {
            id,
            sink,
            pending,
            health: self.clone(),
        });
        let mut requests = lock(&self.requests);
        match requests.fault.clone() {
            None => drop(requests.open.insert(id, Arc::downgrade(&sender))),
            Some(fault) => {
                drop(requests);
                sender.send(Event::Failed(fault));
            }
        }
        sender
    }

    /// Fails every open request, and every later one, with `error`. Only the first fault counts.
    pub(crate) fn fail(&self, error: &EngineError) {
        let (open, listeners) = {
            let mut requests = lock(&self.requests);
            if requests.fault.is_some() {
                return;
            }
            requests.fault = Some(error.clone());
            self.failed.store(true, Relaxed);
            (
                std::mem::take(&mut requests.open),
                std::mem::take(&mut requests.listeners),
            )
        };
        tracing::error!(%error, source = ?std::error::Error::source(error), "the engine has stopped");
        for listener in listeners {
            listener(error.clone());
        }
        for sender in open.values().filter_map(Weak::upgrade) {
            sender.fail(error.clone());
        }
    }

    pub(crate) fn fault(&self) -> Option<EngineError> {
        if !self.failed.load(Relaxed) {
            return None;
        }
        lock(&self.requests).fault.clone()
    }

    pub(crate) fn listen(&self, listener: FaultListener) {
        let mut requests = lock(&self.requests);
        match requests.fault.clone() {
            None => requests.listeners.push(listener),
            Some(fault) => {
                drop(requests);
                listener(fault);
            }
        }
    }

    /// Returns the number of unprocessed prompt tokens of open requests.
    pub(crate) fn prompt_backlog(&self) -> usize {
        // Dropping the last reference to a sender takes the lock, so that happens after unlocking.
        let open: Vec<_> = lock(&self.requests)
            .open
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        open.iter().map(|sender| sender.pending.load(Relaxed)).sum()
    }

    /// Reports the start of a forward batch with its tokens, or its end with 0.
    pub(crate) fn step(&self, tokens: usize) {
        self.step_tokens.store(tokens, Relaxed);
        self.beat();
    }

    /// Reports progress in a forward batch.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Returns the number of progress reports, and the tokens of the running forward batch.
    pub(crate) fn pulse(&self) -> (u64, usize) {
        (self.beats.load(Relaxed), self.step_tokens.load(Relaxed))
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("pulse", &self.pulse())
            .finish_non_exhaustive()
    }
}

/// Sends the events of one request. Drops the sink after the last event.
pub(crate) struct EventSender {
    id: u64,
    sink: Mutex<Option<EventSink>>,
    /// Unprocessed prompt tokens.
    pending: AtomicUsize,
    health: Arc<Health>,
}

impl EventSender {
    /// Returns `false` if the receiver is gone.
    pub(crate) fn send(&self, event: Event) -> bool {
        send(&mut lock(&self.sink), event)
    }

    /// Sets the number of unprocessed prompt tokens.
    pub(crate) fn set_pending(&self, tokens: usize) {
        self.pending.store(tokens, Relaxed);
    }

    /// Sends the last event from another thread than the worker. Does nothing if the worker is
    /// blocked in the sink.
    fn fail(&self, error: EngineError) {
        let mut sink = match self.sink.try_lock() {
            Ok(sink) => sink,
            Err(TryLockError::Poisoned(sink)) => sink.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // The worker is sending an event, which takes microseconds: sinks do not block.
                thread::sleep(Duration::from_millis(50));
                let Ok(sink) = self.sink.try_lock() else {
                    return;
                };
                sink
            }
        };
        send(&mut sink, Event::Failed(error));
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        lock(&self.health.requests).open.remove(&self.id);
    }
}

fn send(sink: &mut Option<EventSink>, event: Event) -> bool {
    let is_last = matches!(event, Event::Finished(_) | Event::Failed(_));
    let listened = sink.as_ref().is_some_and(|sink| sink(event));
    if is_last {
        *sink = None;
    }
    listened
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
