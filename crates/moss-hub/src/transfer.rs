//! The bytes of one file, over several connections, each going on where it stopped.

use std::{
    io::Read,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{
    DownloadEvent, Fetched, HubError, HubFile, HubSettings, Report,
    fault::{Failure, Fault},
    http::{Expected, Http, is_page},
    part::{Part, PartWriter},
    retry::{self, Retries},
};

const BUFFER: usize = 256 << 10;

/// Fetches what a part lacks.
pub(crate) struct Transfer<'a> {
    pub(crate) http: &'a Http,
    pub(crate) settings: &'a HubSettings,
    pub(crate) file: &'a HubFile,
    pub(crate) part: &'a Part,
    pub(crate) report: Report<'a>,
    /// One connection has failed for good: the others need not go on.
    pub(crate) stop: AtomicBool,
    /// Bytes have come, on any connection.
    pub(crate) established: AtomicBool,
}

/// How a stretch ended before its last byte.
enum Broken {
    Network(Failure),
    Disk(HubError),
    Stopped,
}

impl Transfer<'_> {
    /// # Errors
    /// The first connection's that gave up: [`HubError::Transfer`] or [`HubError::Disk`].
    pub(crate) fn run(&self) -> Result<(), HubError> {
        let mut pieces = self.part.missing(self.settings.piece_bytes);
        pieces.reverse(); // they are taken from the end
        let connections = self.settings.connections.clamp(1, pieces.len().max(1));
        let queue = Mutex::new(pieces);
        let work = || {
            let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            while let Some(piece) = take() {
                self.fetch(piece)
                    .inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            let results = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            results.collect::<Vec<_>>().into_iter().collect()
        })
    }

    /// One piece, however many requests it takes.
    fn fetch(&self, mut piece: Range<u64>) -> Result<(), HubError> {
        let patience = &self.settings.patience;
        let useful = patience
            .min_rate
            .saturating_mul(patience.window.as_secs().max(1));
        let mut retries = Retries::new(patience);
        let mut writer = self.part.writer().map_err(|source| self.disk(source))?;
        while !piece.is_empty() && !self.stop.load(Ordering::Relaxed) {
            let (start, began) = (piece.start, Instant::now());
            let broken = match self.stretch(&mut piece, &mut writer) {
                Ok(()) => continue,
                Err(Broken::Stopped) => break,
                Err(Broken::Disk(error)) => return Err(error),
                Err(Broken::Network(failure)) => failure,
            };
            let (bytes, seconds) = (piece.start - start, began.elapsed().as_secs_f64());
            if bytes >= useful {
                retries.reset();
            }
            let timed_out = began.elapsed() >= patience.window && broken.fault.is_interruption();
            if timed_out && bytes as f64 >= patience.min_rate as f64 * seconds {
                continue; // slow, but moving
            }
            let fault = if timed_out {
                Fault::Stalled { bytes, seconds }
            } else {
                broken.fault
            };
            let failure = Failure { fault, ..broken };
            let Some(wait) = retries.pause(&failure, self.established.load(Ordering::Relaxed))
            else {
                return Err(HubError::transfer(
                    Fetched::File(self.file.name.clone()),
                    failure,
                    retries.failures(),
                ));
            };
            let Failure { fault, .. } = &failure;
            (self.report)(DownloadEvent::Retrying {
                file: &Fetched::File(self.file.name.clone()),
                fault,
                wait,
            });
            retry::sleep(wait, &self.stop);
        }
        Ok(())
    }

    /// One request; `piece` shrinks from its start with what is written.
    fn stretch(&self, piece: &mut Range<u64>, writer: &mut PartWriter<'_>) -> Result<(), Broken> {
        let HubFile {
            bytes: size,
            digest,
            url,
            ..
        } = self.file;
        let expected = Expected {
            range: piece.clone(),
            size: *size,
            etag: digest.hex(),
        };
        let (mut body, url) = self.http.range(url, &expected).map_err(Broken::Network)?;
        let lost = |fault| Broken::Network(self.http.failure(&url, fault));
        let mut buffer = vec![0; BUFFER];
        while !piece.is_empty() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Broken::Stopped);
            }
            let room =
                usize::try_from(piece.end - piece.start).map_or(BUFFER, |left| left.min(BUFFER));
            let count = body
                .read(&mut buffer[..room])
                .map_err(|error| lost(Fault::connection(error)))?;
            if count == 0 {
                let bytes = piece.end - piece.start;
                return Err(lost(Fault::CutOff { bytes }));
            }
            if piece.start == 0 && is_page(&buffer[..count]) {
                return Err(Broken::Network(self.http.failure(&url, Fault::Html)));
            }
            self.established.store(true, Ordering::Relaxed);
            writer
                .write(piece.start, &buffer[..count])
                .map_err(|source| Broken::Disk(self.disk(source)))?;
            piece.start += count as u64;
            (self.report)(DownloadEvent::Advanced {
                bytes: count as u64,
            });
        }
        Ok(())
    }

    fn disk(&self, source: std::io::Error) -> HubError {
        HubError::Disk {
            path: self.part.data().to_owned(),
            source,
        }
    }
}
