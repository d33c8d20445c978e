//! Programs of the user: the argument on stdin, lines on stdout.

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{CallContext, Output, Plugin, PluginError, ProgramFault, ResultKind};

/// The most bytes that are read from a program; the rest is discarded, and the program is ended.
const MAX_OUTPUT: u64 = 64 << 10;
/// Time between two checks of a running program.
const POLL: Duration = Duration::from_millis(10);
/// The longest time from the end of a program to the end of its output.
const AFTER_END: Duration = Duration::from_secs(1);
/// The most characters of an error message.
const MAX_MESSAGE: usize = 200;

/// A plugin that is a program of the user: the argument of the call on stdin, the lines of the
/// result on stdout.
#[derive(Debug, Clone)]
pub struct CommandPlugin {
    name: String,
    program: Program,
}

impl CommandPlugin {
    /// Creates a plugin that the model calls by `name`.
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        Self {
            name: name.into(),
            program,
        }
    }
}

impl Plugin for CommandPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Lines
    }

    fn call(&self, argument: &str, context: &CallContext) -> Result<Output, PluginError> {
        Ok(Output::Lines(self.program.run(argument, context)?))
    }
}

/// A command line of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    command: String,
}

impl Program {
    /// Creates a program from a command line, which the system's shell runs (`sh -c`, or `cmd /C`
    /// on Windows). Text of the model is never part of the command line.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
        }
    }

    /// Returns the command line.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Runs the program with `input` on stdin, and returns the lines of its output that are not
    /// empty. A program that is out of time is ended, with the programs that it started.
    ///
    /// # Errors
    /// [`PluginError::Program`], [`PluginError::Cancelled`].
    pub fn run(&self, input: &str, context: &CallContext) -> Result<Vec<String>, PluginError> {
        let failed = |reason| PluginError::Program {
            program: self.command.clone(),
            reason,
        };
        let start = |error| failed(ProgramFault::Start(error));
        let mut running = Running(self.shell().spawn().map_err(start)?);
        let output = reader(running.0.stdout.take());
        let messages = reader(running.0.stderr.take());
        let (stdin, input) = (running.0.stdin.take(), format!("{input}\n"));
        // A program may not read its input, and then the pipe may be full.
        thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let mut received = None;
        let mut status = None;
        while status.is_none() && !received.as_deref().is_some_and(is_full) {
            if context.is_over() {
                return Err(match context.time_left().is_zero() {
                    true => failed(ProgramFault::TimedOut),
                    false => PluginError::Cancelled,
                });
            }
            thread::sleep(POLL);
            received = received.or_else(|| output.try_recv().ok());
            status = running.0.try_wait().map_err(start)?;
        }
        drop(running); // programs in the background would keep the pipes open
        let received = received.or_else(|| output.recv_timeout(AFTER_END).ok());
        let bytes = received.unwrap_or_default();
        // A program whose output is cut off often fails for that reason.
        if let Some(status) = status.filter(|status| !status.success() && !is_full(&bytes)) {
            let message = messages.recv_timeout(AFTER_END).unwrap_or_default();
            return Err(failed(fault(status, &message)));
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    fn shell(&self) -> Command {
        let (shell, option) = if cfg!(windows) {
            ("cmd", "/C")
        } else {
            ("sh", "-c")
        };
        let mut command = Command::new(shell);
        command.args([option, &self.command]);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

/// A program that is ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.0.id()) {
            let group = nix::unistd::Pid::from_raw(group);
            // The group is gone if all its programs have ended.
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the start of a stream in a new thread, and closes it.
fn reader(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(stream) = stream {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is used.
            let _ = stream.take(MAX_OUTPUT).read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    receiver
}

fn is_full(bytes: &[u8]) -> bool {
    bytes.len() as u64 == MAX_OUTPUT
}

/// Returns the fault of a program with this exit status and these messages.
fn fault(status: ExitStatus, messages: &[u8]) -> ProgramFault {
    let messages = String::from_utf8_lossy(messages);
    let last = messages.lines().rfind(|line| !line.trim().is_empty());
    ProgramFault::Status {
        status: status.code(),
        message: last.unwrap_or_default().chars().take(MAX_MESSAGE).collect(),
    }
}
