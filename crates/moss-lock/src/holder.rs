//! A lock file with a heartbeat.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::identity::Identity;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// The interval of heartbeats.
    pub(crate) beat: Duration,
    /// The time without a heartbeat after which a holder counts as dead. A slow network file system
    /// may delay a write for long.
    pub(crate) stale_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            stale_after: Duration::from_secs(60),
        }
    }
}

/// Repeated attempts to create one lock file, with the observations of its current holder.
pub(crate) struct Attempt {
    path: PathBuf,
    timing: Timing,
    seen: Option<Seen>,
    /// Another process's claim to replace a stale file, and when it was first seen.
    claim: Option<(String, Instant)>,
}

struct Seen {
    content: String,
    since: Instant,
    /// Is true if the content has changed: another process writes it.
    beats: bool,
}

pub(crate) enum Created {
    Yes(HolderFile),
    /// Another process holds it and is alive.
    Alive,
    /// Another process holds it, and its state is unknown.
    Unknown,
}

impl Attempt {
    pub(crate) fn new(path: PathBuf, timing: Timing) -> Self {
        Self {
            path,
            timing,
            seen: None,
            claim: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn try_create(&mut self) -> io::Result<Created> {
        match HolderFile::create(&self.path, self.timing) {
            Ok(holder) => return Ok(Created::Yes(holder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let content = match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // released
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Created::Unknown),
            Err(error) => return Err(error),
        };
        let beats = match &self.seen {
            Some(seen) if seen.content == content => seen.beats,
            seen => {
                let beats = seen.is_some();
                self.seen = Some(Seen {
                    content: content.clone(),
                    since: Instant::now(),
                    beats,
                });
                beats
            }
        };
        let silent = self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.since.elapsed() >= self.timing.stale_after);
        if silent || Identity::parse(&content).is_some_and(|holder| holder.has_ended()) {
            return self.take_over(&content);
        }
        Ok(if beats {
            Created::Alive
        } else {
            Created::Unknown
        })
    }

    /// Replaces a stale lock file. A second file allows only one process at a time to do this, so
    /// that it does not remove the new file of another process.
    fn take_over(&mut self, stale: &str) -> io::Result<Created> {
        let mut claim = self.path.clone().into_os_string();
        claim.push(".takeover");
        let claim = PathBuf::from(claim);
        let own = Identity::new().to_text();
        match OpenOptions::new().write(true).create_new(true).open(&claim) {
            Ok(mut file) => file.write_all(own.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.abandon(&claim);
                return Ok(Created::Unknown);
            }
            Err(error) => return Err(error),
        }
        let replaced = || {
            if fs::read(&self.path).is_ok_and(|found| found == stale.as_bytes()) {
                fs::remove_file(&self.path)?;
            }
            HolderFile::create(&self.path, self.timing)
        };
        let result = match replaced() {
            Ok(holder) => Ok(Created::Yes(holder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Unknown),
            Err(error) => Err(error),
        };
        let _ = fs::remove_file(&claim);
        result
    }

    /// Removes the claim of a process that was killed while it replaced a lock file.
    fn abandon(&mut self, claim: &Path) {
        let found = fs::read_to_string(claim).unwrap_or_default();
        match &self.claim {
            Some((content, since)) if *content == found => {
                if since.elapsed() >= self.timing.stale_after {
                    let _ = fs::remove_file(claim);
                    self.claim = None;
                }
            }
            _ => self.claim = Some((found, Instant::now())),
        }
    }
}

/// A lock file of this process. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct HolderFile {
    path: PathBuf,
    identity: Identity,
    beating: Option<(Sender<()>, JoinHandle<()>)>,
}

impl HolderFile {
    fn create(path: &Path, timing: Timing) -> io::Result<Self> {
        let identity = Identity::new();
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text(&identity, 0).as_bytes())?;
        drop(file);
        let mut holder = Self {
            path: path.to_owned(),
            identity,
            beating: None,
        };
        let (path, identity) = (holder.path.clone(), holder.identity.clone());
        let (stop, stopped) = mpsc::channel::<()>();
        let beat = move || {
            for count in 1.. {
                if stopped.recv_timeout(timing.beat) != Err(RecvTimeoutError::Timeout)
                    || !is_held(&path, &identity)
                {
                    return;
                }
                // Closing the file makes the bytes visible to other clients of a network share.
                let rewrite = || {
                    OpenOptions::new()
                        .write(true)
                        .open(&path)?
                        .write_all(text(&identity, count).as_bytes())
                };
                let _: io::Result<()> = rewrite(); // the next one may succeed
            }
        };
        holder.beating = Some((
            stop,
            thread::Builder::new()
                .name("lock-heartbeat".into())
                .spawn(beat)?,
        ));
        Ok(holder)
    }
}

impl Drop for HolderFile {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.beating.take() {
            drop(stop);
            let _ = thread.join();
        }
        if is_held(&self.path, &self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns `true` unless another process has taken over the lock, which happens to a process that
/// was suspended.
fn is_held(path: &Path, identity: &Identity) -> bool {
    fs::read_to_string(path).is_ok_and(|text| Identity::parse(&text).as_ref() == Some(identity))
}

/// Returns the text of a lock file. Its length is the same for every count, so that a new text
/// overwrites the old one completely.
fn text(identity: &Identity, count: u64) -> String {
    format!("{}heartbeat {count:020}\n", identity.to_text())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        beat: Duration::from_millis(20),
        stale_after: Duration::from_millis(400),
    };

    fn attempt(path: &Path) -> Attempt {
        Attempt::new(path.to_owned(), TIMING)
    }

    /// Tries until the attempt is decided.
    fn decide(attempt: &mut Attempt) -> Created {
        loop {
            match attempt.try_create().unwrap() {
                Created::Unknown => thread::sleep(Duration::from_millis(5)),
                decided => return decided,
            }
        }
    }

    #[test]
    fn a_holder_with_heartbeats_keeps_its_lock_beyond_the_stale_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let Created::Yes(first) = attempt(&path).try_create().unwrap() else {
            panic!("the lock is free")
        };
        let (mut second, began) = (attempt(&path), Instant::now());
        while began.elapsed() < TIMING.stale_after * 3 {
            assert!(!matches!(second.try_create().unwrap(), Created::Yes(_)));
            thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(decide(&mut second), Created::Alive));
        drop(first);
        assert!(!path.exists());
        assert!(matches!(second.try_create().unwrap(), Created::Yes(_)));
    }

    #[test]
    fn a_lock_file_of_a_process_that_ended_on_this_machine_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let own = Identity::new().to_text();
        let pid = format!("pid {}\n", std::process::id());
        fs::write(&path, own.replacen(&pid, "pid 999999999\n", 1)).unwrap();
        let began = Instant::now();
        let Created::Yes(holder) = decide(&mut attempt(&path)) else {
            panic!("its process does not exist")
        };
        if cfg!(target_os = "linux") {
            assert!(began.elapsed() < TIMING.stale_after);
        }
        assert!(is_held(&path, &holder.identity));
    }

    #[test]
    fn a_lock_file_without_heartbeats_of_another_or_an_unknown_machine_becomes_stale() {
        for content in [
            "",
            "garbage",
            "pid 1\nhost elsewhere\nmachine x y\nserial 0\nheartbeat 7\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lock");
            fs::write(&path, content).unwrap();
            let began = Instant::now();
            assert!(
                matches!(decide(&mut attempt(&path)), Created::Yes(_)),
                "{content}"
            );
            assert!(began.elapsed() >= TIMING.stale_after, "{content}");
        }
    }

    #[test]
    fn processes_take_over_a_stale_lock_file_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "pid 1\nhost elsewhere\nmachine x y\nserial 0\n").unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut attempt = attempt(&path);
                    let holder = loop {
                        match attempt.try_create().unwrap() {
                            Created::Yes(holder) => break holder,
                            _ => thread::sleep(Duration::from_millis(1)),
                        }
                    };
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    thread::sleep(Duration::from_millis(10));
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(holder);
                });
            }
        });
    }

    #[test]
    fn a_holder_that_lost_its_lock_does_not_remove_the_new_holders_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let Created::Yes(first) = attempt(&path).try_create().unwrap() else {
            panic!("the lock is free")
        };
        fs::write(&path, "another").unwrap();
        thread::sleep(TIMING.beat * 3);
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
    }
}
