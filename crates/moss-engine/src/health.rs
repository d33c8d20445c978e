//! Whether the engine works: its open requests, its heartbeat, and the fault that ended it.
//!
//! Shared between the engine's thread, its handles and the watchdog, so that requests can be ended
//! from outside while the engine's thread is stuck in the model.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{EngineError, Event, EventSink, speed::Speed};

/// Told about the fault that stopped an engine; see [`crate::Engine::on_fault`].
pub type FaultListener = Box<dyn FnOnce(EngineError) + Send>;

/// State that outlives a stuck engine thread.
#[derive(Default)]
pub(crate) struct Health {
    requests: Mutex<Requests>,
    /// Set with [`Requests::fault`]; cheap to ask.
    failed: AtomicBool,
    /// Counts every sign of progress.
    beats: AtomicU64,
    /// Tokens of the step that runs; 0 while the engine is idle.
    step_tokens: AtomicUsize,
    pub(crate) speed: Speed,
}

#[derive(Default)]
struct Requests {
    open: HashMap<u64, Weak<Outlet>>,
    fault: Option<EngineError>,
    listeners: Vec<FaultListener>,
}

impl Health {
    /// Registers a request. If the engine has failed already, the request is ended at once.
    pub(crate) fn open(
        self: &Arc<Self>,
        id: u64,
        prompt_tokens: usize,
        sink: EventSink,
    ) -> Arc<Outlet> {
        let (sink, pending) = (Mutex::new(Some(sink)), AtomicUsize::new(prompt_tokens));
        let outlet = Arc::new(Outlet {
            id,
            sink,
            pending,
            health: self.clone(),
        });
        let mut requests = lock(&self.requests);
        match requests.fault.clone() {
            None => drop(requests.open.insert(id, Arc::downgrade(&outlet))),
            Some(fault) => {
                drop(requests);
                outlet.send(Event::Failed(fault));
            }
        }
        outlet
    }

    /// Ends every open request with `error`, now and from now on. The first fault counts.
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
        for outlet in open.values().filter_map(Weak::upgrade) {
            outlet.fail(error.clone());
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

    /// Prompt tokens of open requests that have yet to be processed.
    pub(crate) fn prompt_backlog(&self) -> usize {
        // Dropping the last owner of an outlet takes the lock, so they are dropped outside of it.
        let open: Vec<_> = lock(&self.requests)
            .open
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        open.iter().map(|outlet| outlet.pending.load(Relaxed)).sum()
    }

    /// A step of so many tokens begins; 0 tokens end it.
    pub(crate) fn step(&self, tokens: usize) {
        self.step_tokens.store(tokens, Relaxed);
        self.beat();
    }

    /// A sign of progress within a step.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Signs of progress so far, and the tokens of the step that runs.
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

/// Where one request's events go, until its last one.
pub(crate) struct Outlet {
    id: u64,
    sink: Mutex<Option<EventSink>>,
    /// Prompt tokens that have yet to be processed.
    pending: AtomicUsize,
    health: Arc<Health>,
}

impl Outlet {
    /// False once the receiver is gone.
    pub(crate) fn send(&self, event: Event) -> bool {
        send(&mut lock(&self.sink), event)
    }

    /// Sets the prompt tokens that have yet to be processed.
    pub(crate) fn set_pending(&self, tokens: usize) {
        self.pending.store(tokens, Relaxed);
    }

    /// The last event, from outside the engine's thread. A sink that this thread is stuck in is
    /// left alone.
    fn fail(&self, error: EngineError) {
        let mut sink = match self.sink.try_lock() {
            Ok(sink) => sink,
            Err(TryLockError::Poisoned(sink)) => sink.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // Most likely an event on its way; a sink does not block.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let Ok(sink) = self.sink.try_lock() else {
                    return;
                };
                sink
            }
        };
        send(&mut sink, Event::Failed(error));
    }
}

impl Drop for Outlet {
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
