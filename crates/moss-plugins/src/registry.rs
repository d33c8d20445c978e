//! The plugins that are enabled, and the run of a turn's calls.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Call, CallContext, CallReport, Cancellation, Output, Plugin, PluginError, ResultKind, Results,
    parse_calls,
};

/// The most calls of a turn; later ones are left out. In the model's training data, few turns have
/// more than two.
const MAX_CALLS: usize = 8;
/// The longest argument, in characters.
const MAX_ARGUMENT: usize = 1000;
/// Time between two checks for cancellation.
const POLL: Duration = Duration::from_millis(20);

/// Plugins in the order in which their results are shown.
#[derive(Debug, Clone)]
pub struct Plugins {
    plugins: Vec<Arc<dyn Plugin>>,
    timeout: Duration,
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            plugins: Vec::new(),
            timeout: Self::TIMEOUT,
        }
    }
}

impl Plugins {
    /// The default time of a turn's calls. Pictures take the longest.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// Adds a plugin, or replaces the one with the same name.
    pub fn add(&mut self, plugin: impl Plugin + 'static) {
        let plugin: Arc<dyn Plugin> = Arc::new(plugin);
        let same = |other: &&mut Arc<dyn Plugin>| other.name() == plugin.name();
        match self.plugins.iter_mut().find(same) {
            Some(other) => *other = plugin,
            None => self.plugins.push(plugin),
        }
    }

    /// Adds a plugin.
    #[must_use]
    pub fn with(mut self, plugin: impl Plugin + 'static) -> Self {
        self.add(plugin);
        self
    }

    /// Returns the plugins whose names are not in `names`.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let others = self
            .plugins
            .iter()
            .filter(|plugin| !names.contains(&plugin.name()));
        Self {
            plugins: others.cloned().collect(),
            timeout: self.timeout,
        }
    }

    /// Sets the longest time of a turn's calls.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Returns the plugins.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.plugins.iter().map(AsRef::as_ref)
    }

    /// Returns true if there are no plugins.
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Runs the calls of a commands segment in parallel. Calls of unknown plugins are left out.
    ///
    /// Returns after [`Plugins::set_timeout`], or shortly after `cancellation`, even if a call is
    /// still running; such a call has no result.
    pub fn run(&self, commands: &str, cancellation: &Cancellation) -> Results {
        let context = CallContext::new(self.timeout, cancellation.clone());
        let known = parse_calls(commands).into_iter().filter_map(|call| {
            let index = self
                .plugins
                .iter()
                .position(|plugin| plugin.name() == call.name);
            Some((index?, call))
        });
        // One picture: each may have megabytes, and cost money.
        let mut pictures = 0;
        let known = known.filter(|(index, _)| {
            let is_picture = self.plugins[*index].kind() == ResultKind::Image;
            pictures += usize::from(is_picture);
            !is_picture || pictures <= 1
        });
        let mut calls: Vec<_> = known.take(MAX_CALLS).collect();
        calls.sort_by_key(|(index, _)| *index); // stable
        let started: Vec<_> = calls
            .into_iter()
            .map(|(index, call)| {
                let plugin = self.plugins[index].clone();
                let kind = plugin.kind();
                let running = start(plugin, &call, context.clone());
                (call, kind, running)
            })
            .collect();
        let finished = started.into_iter().map(|(call, kind, running)| CallReport {
            call,
            kind,
            outcome: running.and_then(|running| self.wait(&running, &context, cancellation)),
        });
        Results::compose(finished.collect())
    }

    fn wait(
        &self,
        running: &mpsc::Receiver<Result<Output, PluginError>>,
        context: &CallContext,
        cancellation: &Cancellation,
    ) -> Result<Output, PluginError> {
        loop {
            let end = Instant::now() + context.time_left();
            match running.recv_timeout(context.time_left().min(POLL)) {
                Ok(outcome) => return outcome,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(PluginError::Panicked),
                Err(_) if cancellation.is_cancelled() => return Err(PluginError::Cancelled),
                Err(_) if Instant::now() >= end => {
                    let seconds = self.timeout.as_secs_f64();
                    return Err(PluginError::TimedOut { seconds });
                }
                Err(_) => {}
            }
        }
    }
}

/// Starts a call in a new thread.
fn start(
    plugin: Arc<dyn Plugin>,
    call: &Call,
    context: CallContext,
) -> Result<mpsc::Receiver<Result<Output, PluginError>>, PluginError> {
    let [argument] = &call.arguments[..] else {
        let found = call.arguments.len();
        return Err(PluginError::Arguments { found });
    };
    if argument.trim().is_empty() {
        return Err(PluginError::NoArgument);
    }
    let argument: String = argument.chars().take(MAX_ARGUMENT).collect();
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        // The receiver is gone if the call was abandoned.
        let _ = sender.send(plugin.call(&argument, &context));
    };
    let started = thread::Builder::new().spawn(run);
    started.map_err(|_| PluginError::Panicked)?;
    Ok(receiver)
}
