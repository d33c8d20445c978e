//! A conversation's cache, as its owner holds it.

use crossbeam_channel::Sender;

use crate::command::Command;

/// A conversation's cache: the longest beginning that a prompt shares with the one before is not
/// run again. Dropping it frees its blocks.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: u64,
    pub(crate) commands: Sender<Command>,
}

impl Session {
    /// Returns the id for [`Request::session`](crate::Request::session).
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An engine that is gone has freed everything already.
        let _ = self.commands.send(Command::EndSession(self.id));
    }
}
