//! The mode of the terminal while a chat is not reading from it.
//!
//! In a terminal's usual mode the kernel edits lines: it echoes typed text into the answer,
//! truncates lines at 4095 bytes, and discards typed-ahead text on Ctrl-C. A chat holds its input
//! instead: typed text stays in the kernel's queue, unchanged and not echoed, until the next prompt
//! reads it.

#[cfg(unix)]
pub(crate) use self::unix::{Held, hold, interrupt_key, reapply_after_stop, release, restore};

#[cfg(unix)]
mod unix {
    use std::{
        io::{stdin, stdout},
        sync::{
            Arc, Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, Ordering},
        },
    };

    use nix::{
        libc::_POSIX_VDISABLE,
        sys::termios::{
            InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
        },
        unistd::{getpgrp, tcgetpgrp, write},
    };
    use signal_hook::{
        consts::{SIGCONT, SIGHUP, SIGQUIT, SIGTERM},
        flag,
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    /// Enables paste markers, so that the lines of a paste are one message, also during an answer.
    const PASTE_MARKERS_ON: &[u8] = b"\x1b[?2004h";
    const PASTE_MARKERS_OFF: &[u8] = b"\x1b[?2004l";

    /// Set while a chat holds its input. Signal handling needs it, so it is global.
    static MODES: Mutex<Option<Modes>> = Mutex::new(None);

    struct Modes {
        original: Termios,
        held: Termios,
        /// The mode at a prompt where the kernel edits lines.
        prompt: Termios,
        /// The key that ends a line at that prompt.
        interrupt: Option<u8>,
        /// This program edits lines, and interprets paste markers.
        edits: bool,
        /// Set by SIGCONT. The shell has changed the mode in between.
        continued: Arc<AtomicBool>,
    }

    fn modes() -> MutexGuard<'static, Option<Modes>> {
        MODES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(mode: &Termios, markers: Option<&[u8]>) {
        // The kernel stops a background process that sets the mode, even while it exits.
        if tcgetpgrp(stdin()).is_ok_and(|foreground| foreground != getpgrp()) {
            return;
        }
        // TCSANOW neither discards input nor waits for output. Errors are ignored: the terminal may
        // be closed.
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, mode);
        if let Some(markers) = markers {
            // Another thread may hold the lock of stdout.
            let _ = write(stdout(), markers);
        }
    }

    /// Holds the terminal's input until it is dropped.
    pub(crate) struct Held {
        _private: (),
    }

    impl Held {
        /// Starts to hold input. `edits` is true if this program edits lines, and false if the
        /// kernel does.
        pub(crate) fn new(edits: bool) -> Self {
            if let Ok(original) = tcgetattr(stdin()) {
                let held = held(&original, edits);
                let (prompt, interrupt) = prompt(&original);
                let continued = Arc::<AtomicBool>::default();
                let _ = flag::register(SIGCONT, continued.clone());
                *modes() = Some(Modes {
                    original,
                    held,
                    prompt,
                    interrupt,
                    edits,
                    continued,
                });
                restore_when_killed();
                hold();
            }
            Self { _private: () }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Returns `original` without the flags that change, echo or discard typed text. Ctrl-C, Ctrl-\
    /// and Ctrl-Z still send signals.
    fn held(original: &Termios, edits: bool) -> Termios {
        let mut held = original.clone();
        held.local_flags |= LocalFlags::NOFLSH;
        if edits {
            held.local_flags &= !(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::IEXTEN);
            // These are the line editor's settings. Otherwise bytes would differ between the modes.
            held.input_flags &=
                !(InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IGNCR | InputFlags::ISTRIP);
            held.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
            held.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        }
        held
    }

    /// Returns `original` with an interrupt key that ends a line instead of sending a signal, and
    /// that key. A signal would not be in order with the typed text, and the kernel would discard
    /// the text before it.
    fn prompt(original: &Termios) -> (Termios, Option<u8>) {
        let mut prompt = original.clone();
        let [key, end] = [
            SpecialCharacterIndices::VINTR as usize,
            SpecialCharacterIndices::VEOL as usize,
        ];
        let interrupt = Some(prompt.control_chars[key])
            .filter(|key| *key != _POSIX_VDISABLE && prompt.local_flags.contains(LocalFlags::ISIG));
        if let Some(interrupt) = interrupt {
            prompt.control_chars[key] = _POSIX_VDISABLE;
            prompt.control_chars[end] = interrupt;
        }
        (prompt, interrupt)
    }

    /// Restores the terminal on signals whose default action ends the process without destructors.
    fn restore_when_killed() {
        let Ok(mut signals) = Signals::new([SIGTERM, SIGHUP, SIGQUIT]) else {
            return;
        };
        std::thread::spawn(move || {
            for signal in signals.forever() {
                restore();
                let _ = emulate_default_handler(signal);
            }
        });
    }

    /// Holds input again after a prompt.
    pub(crate) fn hold() {
        if let Some(modes) = &*modes() {
            set(&modes.held, modes.edits.then_some(PASTE_MARKERS_ON));
        }
    }

    /// Lets the kernel edit a line at a prompt. The line editor sets its mode itself.
    pub(crate) fn release() {
        if let Some(modes) = modes().as_ref().filter(|modes| !modes.edits) {
            set(&modes.prompt, None);
        }
    }

    /// Returns the byte of Ctrl-C at a prompt where the kernel edits lines, if there is such a key.
    pub(crate) fn interrupt_key() -> Option<u8> {
        modes().as_ref().and_then(|modes| modes.interrupt)
    }

    /// Holds input again after the process was stopped (Ctrl-Z) and continued in the foreground.
    pub(crate) fn reapply_after_stop() {
        if modes()
            .as_ref()
            .is_some_and(|modes| modes.continued.swap(false, Ordering::Relaxed))
        {
            hold();
        }
    }

    /// Restores the terminal before the process ends.
    pub(crate) fn restore() {
        if let Some(modes) = modes().take() {
            set(&modes.original, modes.edits.then_some(PASTE_MARKERS_OFF));
        }
    }
}

/// Windows keeps key presses of a console until they are read, in every mode.
#[cfg(not(unix))]
mod other {
    pub(crate) struct Held;

    impl Held {
        pub(crate) fn new(_edits: bool) -> Self {
            Self
        }
    }

    pub(crate) fn hold() {}

    pub(crate) fn release() {}

    pub(crate) fn interrupt_key() -> Option<u8> {
        None
    }

    pub(crate) fn reapply_after_stop() {}

    pub(crate) fn restore() {}
}

#[cfg(not(unix))]
pub(crate) use self::other::{Held, hold, interrupt_key, reapply_after_stop, release, restore};
