//! Server processes.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use moss_testing::{http::Client, wait_until};

use super::command;

/// A server that is ready. It is killed when it is dropped.
pub(crate) struct ServerProcess {
    child: Child,
    /// Its stderr until it was ready.
    pub(crate) start: String,
    /// Its stderr since then.
    log: Arc<Mutex<String>>,
    /// Reads stderr, because a full pipe would block the server.
    reader: Option<JoinHandle<()>>,
}

impl ServerProcess {
    /// Starts `serve --demo` in English, on a free port.
    pub(crate) fn demo(args: &[&str]) -> Self {
        let args = [&["serve", "--demo", "--port", "0", "--lang", "en"], args].concat();
        Self::start(command(&env::temp_dir(), &args))
    }

    /// Starts `serve --demo` with 5 ms per token, in builds with debug assertions.
    #[cfg(target_os = "linux")]
    pub(crate) fn slow_demo(args: &[&str]) -> Self {
        let args = [&["serve", "--demo", "--port", "0", "--lang", "en"], args].concat();
        let mut command = command(&env::temp_dir(), &args);
        command.env("MOSS_INJECT_FAULT", "slow:5");
        Self::start(command)
    }

    /// Starts a server and waits until its model is loaded.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (mut start, mut line) = (String::new(), String::new());
        while !line.starts_with("ready: ") && !line.starts_with("已就绪") {
            line.clear();
            let read = stderr.read_line(&mut line).unwrap();
            start += &line;
            assert!(read > 0, "the server ended: {start}");
        }
        let log = Arc::<Mutex<String>>::default();
        let rest = log.clone();
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).unwrap() > 0 {
                rest.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self {
            child,
            start,
            log,
            reader: Some(reader),
        }
    }

    /// The port of its first IPv4 address.
    pub(crate) fn port(&self) -> u16 {
        let (_, address) = self.start.split_once("http://127.0.0.1:").unwrap();
        let digits = address.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::local(self.port())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        super::signal(&self.child, signal);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the server has written `text` to stderr since it was ready.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(text, || self.log.lock().unwrap().contains(text));
    }

    /// Waits until the server ends. Returns its status and what it wrote to stderr after it was
    /// ready.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        (status, log)
    }

    /// Kills the server. Returns what it wrote to stderr after it was ready.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.wait().1
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
