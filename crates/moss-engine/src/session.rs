//! The KV cache of a conversation.

use crossbeam_channel::Sender;

use crate::command::Command;

/// The KV cache of a conversation: the longest common prefix of a prompt and the previous one is
/// reused. Dropping it frees its blocks.
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
        // Fails if the engine is gone, which has freed all blocks.
        let _ = self.commands.send(Command::EndSession(self.id));
    }
}
