//! Keys with a special function in a chat: Ctrl-C, Ctrl-D and Tab.

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

/// Time after an answer in which Ctrl-C does not leave the chat. The key may have been read
/// together with the question, and is then meant for the answer; the editor does not report which
/// keys it had read ahead. Such a key is handled within 0.1 ms, or much later on a busy machine. A
/// longer time costs only one more Ctrl-C.
pub(super) const STALE: Duration = Duration::from_millis(300);

/// The keys pressed at the current prompt.
pub(crate) struct Keys {
    pressed: Arc<Pressed>,
}

#[derive(Default)]
struct Pressed {
    /// Ctrl-C on an empty line.
    interrupt: AtomicBool,
    /// Ctrl-D on an empty line.
    end: AtomicBool,
    /// The Ctrl-C on an empty line counts as the first one.
    is_first: AtomicBool,
    /// The time of the prompt, if it follows an answer.
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

    /// Must be called when a new prompt is shown.
    pub(crate) fn reset(&self, after_answer: bool) {
        for key in [
            &self.pressed.interrupt,
            &self.pressed.end,
            &self.pressed.is_first,
        ] {
            key.store(false, Ordering::Relaxed);
        }
        *self
            .pressed
            .answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = after_answer.then(Instant::now);
    }

    /// Returns true if Ctrl-C ended the line.
    pub(crate) fn interrupted(&self) -> bool {
        self.pressed.interrupt.load(Ordering::Relaxed)
    }

    /// Returns true if Ctrl-D ended the line.
    pub(crate) fn ended(&self) -> bool {
        self.pressed.end.load(Ordering::Relaxed)
    }

    /// Returns true if this Ctrl-C counts as the first one.
    pub(crate) fn is_first(&self) -> bool {
        self.pressed.is_first.load(Ordering::Relaxed)
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
                .is_first
                .fetch_or(self.0.is_stale(), Ordering::Relaxed);
            return Some(Cmd::AcceptLine);
        }
        self.0.is_first.store(true, Ordering::Relaxed);
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
        // In a line with text, Ctrl-D deletes the next character as usual.
        context.line().is_empty().then(|| {
            self.0.end.store(true, Ordering::Relaxed);
            Cmd::AcceptLine
        })
    }
}

/// Tab completes a command. In other places it is inserted, because code may be pasted without
/// markers.
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
        // `SelfInsert` would make rustyline repeat the last inserted text.
        (!completes).then(|| Cmd::Insert(n, "\t".into()))
    }
}
