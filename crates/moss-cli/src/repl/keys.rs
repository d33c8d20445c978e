//! Keys that this chat handles in its own way: Ctrl-C, Ctrl-D and Tab.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, Helper, KeyCode,
    KeyEvent, Modifiers, Movement, RepeatCount, history::History,
};

use super::names::NAMES;

/// A Ctrl-C that is handled this soon after an answer may have been in the same read as the
/// question, and is then meant for the answer: it says how to leave, and never leaves. The editor
/// does not tell which keys it had read ahead. They take a tenth of a millisecond, but a process on
/// a busy machine may have to wait much longer for its turn; the price of a longer time is only that
/// leaving needs one more Ctrl-C.
pub(super) const STALE: Duration = Duration::from_millis(300);

/// What the keys at the current prompt mean.
pub(crate) struct Keys {
    pressed: Arc<Pressed>,
}

#[derive(Default)]
struct Pressed {
    /// Ctrl-C on an empty line.
    interrupt: AtomicBool,
    /// Ctrl-D on an empty line.
    end: AtomicBool,
    /// The Ctrl-C on an empty line is the first of two at most.
    starts_over: AtomicBool,
    /// When the prompt was shown, if an answer came before it.
    answered: Mutex<Option<Instant>>,
}

impl Keys {
    pub(crate) fn bind<H: Helper, I: History>(editor: &mut Editor<H, I>) -> Self {
        let pressed = Arc::<Pressed>::default();
        let interrupt = || EventHandler::Conditional(Box::new(Interrupt(pressed.clone())));
        editor.bind_sequence(KeyEvent::ctrl('C'), interrupt());
        editor.bind_sequence(KeyEvent::ctrl('\\'), interrupt());
        editor.bind_sequence(
            KeyEvent::ctrl('D'),
            EventHandler::Conditional(Box::new(End(pressed.clone()))),
        );
        let tab = KeyEvent(KeyCode::Tab, Modifiers::NONE);
        editor.bind_sequence(tab, EventHandler::Conditional(Box::new(Tab)));
        Self { pressed }
    }

    /// A new prompt is shown.
    pub(crate) fn reset(&self, after_answer: bool) {
        for key in [
            &self.pressed.interrupt,
            &self.pressed.end,
            &self.pressed.starts_over,
        ] {
            key.store(false, Ordering::Relaxed);
        }
        *self
            .pressed
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = after_answer.then(Instant::now);
    }

    /// The line was accepted by Ctrl-C.
    pub(crate) fn interrupted(&self) -> bool {
        self.pressed.interrupt.load(Ordering::Relaxed)
    }

    /// The line was accepted by Ctrl-D.
    pub(crate) fn ended(&self) -> bool {
        self.pressed.end.load(Ordering::Relaxed)
    }

    /// This Ctrl-C must not be taken for the second of two.
    pub(crate) fn starts_over(&self) -> bool {
        self.pressed.starts_over.load(Ordering::Relaxed)
    }
}

impl Pressed {
    fn is_stale(&self) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|since| since.elapsed() < STALE)
    }
}

struct Interrupt(Arc<Pressed>);

impl ConditionalEventHandler for Interrupt {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        if context.line().is_empty() {
            self.0.interrupt.store(true, Ordering::Relaxed);
            self.0
                .starts_over
                .fetch_or(self.0.is_stale(), Ordering::Relaxed);
            return Some(Cmd::AcceptLine);
        }
        self.0.starts_over.store(true, Ordering::Relaxed);
        Some(Cmd::Kill(Movement::WholeBuffer)) // Ctrl-Y brings it back
    }
}

struct End(Arc<Pressed>);

impl ConditionalEventHandler for End {
    fn handle(
        &self,
        _: &Event,
        _: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        // Behind text it deletes the next character, as everywhere.
        context.line().is_empty().then(|| {
            self.0.end.store(true, Ordering::Relaxed);
            Cmd::AcceptLine
        })
    }
}

/// Tab completes the beginning of a command; elsewhere it is text, as in code that is pasted
/// without markers.
struct Tab;

impl ConditionalEventHandler for Tab {
    fn handle(
        &self,
        _: &Event,
        n: RepeatCount,
        _: bool,
        context: &EventContext<'_>,
    ) -> Option<Cmd> {
        let typed = context.line().get(..context.pos()).unwrap_or_default();
        let completes = !typed.is_empty() && NAMES.iter().any(|name| name.starts_with(typed));
        // Not `SelfInsert`: rustyline takes that for a repetition, and inserts the last text once
        // more.
        (!completes).then(|| Cmd::Insert(n, "\t".into()))
    }
}
