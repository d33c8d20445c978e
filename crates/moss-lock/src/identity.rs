//! The process and machine that hold a lock.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Distinguishes locks of one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The first lines of a lock file, which do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pid: u32,
    /// For users who read the file.
    host: String,
    /// Boot id and PID namespace, in which a process id is unique. Empty if the system does not
    /// provide them.
    machine: String,
    serial: u64,
}

impl Identity {
    /// Returns a new identity of this process.
    pub(crate) fn new() -> Self {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
        let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string());
        let machine = read("/proc/sys/kernel/random/boot_id")
            .and_then(|boot| Ok(format!("{boot} {}", namespace?)));
        Self {
            pid: std::process::id(),
            host: read("/proc/sys/kernel/hostname").unwrap_or_default(),
            machine: machine.unwrap_or_default(),
            serial: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let Self {
            pid,
            host,
            machine,
            serial,
        } = self;
        format!("pid {pid}\nhost {host}\nmachine {machine}\nserial {serial}\n")
    }

    /// Parses the text of [`Identity::to_text`]; other text may follow.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        Some(Self {
            pid: field("pid")?.parse().ok()?,
            host: field("host")?.to_owned(),
            machine: field("machine")?.to_owned(),
            serial: field("serial")?.parse().ok()?,
        })
    }

    /// Returns `true` if the process has certainly ended: it ran in the same boot and PID namespace,
    /// and does not exist.
    pub(crate) fn has_ended(&self) -> bool {
        let own = Self::new();
        !own.machine.is_empty()
            && own.machine == self.machine
            && !Path::new("/proc").join(self.pid.to_string()).exists()
    }
}
