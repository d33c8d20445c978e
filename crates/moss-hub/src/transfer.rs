//! The transfer of one file over several connections, each of which resumes after an error.

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
    http::Http,
    partial_file::{PartialFile, PartialWriter},
    response::{Expected, is_page},
    retry::{self, Retries},
};

const BUFFER: usize = 256 << 10;

/// Fetches the missing ranges of a partial file.
pub(crate) struct Transfer<'a> {
    pub(crate) http: &'a Http,
    pub(crate) settings: &'a HubSettings,
    pub(crate) file: &'a HubFile,
    pub(crate) part: &'a PartialFile,
    pub(crate) report: Report<'a>,
    /// Is set when one connection has failed permanently, so that the others stop.
    pub(crate) stop: AtomicBool,
    /// Is set when any connection has received bytes.
    pub(crate) established: AtomicBool,
}

/// The cause for the early end of a request.
enum Interruption {
    Network(Failure),
    Disk(HubError),
    Stopped,
}

impl Transfer<'_> {
    /// Fetches all missing ranges.
    ///
    /// # Errors
    /// That of the first connection that gave up: [`HubError::Transfer`] or [`HubError::Disk`].
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

    /// Fetches one range, with as many requests as necessary.
    fn fetch(&self, mut piece: Range<u64>) -> Result<(), HubError> {
        let timeouts = &self.settings.timeouts;
        let useful = timeouts
            .min_rate
            .saturating_mul(timeouts.window.as_secs().max(1));
        let mut retries = Retries::new(timeouts);
        let mut writer = self.part.writer().map_err(|source| self.disk(source))?;
        while !piece.is_empty() && !self.stop.load(Ordering::Relaxed) {
            let (start, began) = (piece.start, Instant::now());
            let interruption = match self.request(&mut piece, &mut writer) {
                Ok(()) => continue,
                Err(Interruption::Stopped) => break,
                Err(Interruption::Disk(error)) => return Err(error),
                Err(Interruption::Network(failure)) => failure,
            };
            let (bytes, seconds) = (piece.start - start, began.elapsed().as_secs_f64());
            if bytes >= useful {
                retries.reset();
            }
            let timed_out =
                began.elapsed() >= timeouts.window && interruption.fault.is_interruption();
            if timed_out && bytes as f64 >= timeouts.min_rate as f64 * seconds {
                continue; // slow, but above the lowest rate
            }
            let fault = if timed_out {
                Fault::Stalled { bytes, seconds }
            } else {
                interruption.fault
            };
            let failure = Failure {
                fault,
                ..interruption
            };
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

    /// Runs one request. `piece` becomes the rest of the range.
    fn request(
        &self,
        piece: &mut Range<u64>,
        writer: &mut PartialWriter<'_>,
    ) -> Result<(), Interruption> {
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
        let (mut body, url) = self
            .http
            .range(url, &expected)
            .map_err(Interruption::Network)?;
        let lost = |fault| Interruption::Network(self.http.failure(&url, fault));
        let mut buffer = vec![0; BUFFER];
        while !piece.is_empty() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Interruption::Stopped);
            }
            let wanted =
                usize::try_from(piece.end - piece.start).map_or(BUFFER, |left| left.min(BUFFER));
            let count = body
                .read(&mut buffer[..wanted])
                .map_err(|error| lost(Fault::connection(error)))?;
            if count == 0 {
                let bytes = piece.end - piece.start;
                return Err(lost(Fault::CutOff { bytes }));
            }
            if piece.start == 0 && is_page(&buffer[..count]) {
                return Err(Interruption::Network(self.http.failure(&url, Fault::Html)));
            }
            self.established.store(true, Ordering::Relaxed);
            writer
                .write(piece.start, &buffer[..count])
                .map_err(|source| Interruption::Disk(self.disk(source)))?;
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
