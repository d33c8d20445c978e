//! Cached blocks as bytes, to keep them longer than the engine.

use std::time::Duration;

use moss_model::BlockFormat;

use crate::{
    EngineError,
    command::{BlockCommand, BlockWait, Command},
    health::Health,
    sync::{
        Arc,
        channel::{Receiver, RecvTimeoutError, Sender, bounded},
    },
};

/// Reads and writes blocks of the prefix cache, from any thread. The blocks are those of requests
/// without an owner or a cache key. It does not keep the engine running.
#[derive(Debug, Clone)]
pub struct PrefixBlocks {
    pub(crate) commands: Sender<Command>,
    pub(crate) format: Arc<BlockFormat>,
    pub(crate) block_size: usize,
    pub(crate) health: Arc<Health>,
}

/// Interval at which a wait for the worker thread checks for a stall.
const POLL: Duration = Duration::from_millis(100);

impl PrefixBlocks {
    /// Returns the form of the blocks.
    pub fn format(&self) -> &BlockFormat {
        &self.format
    }

    /// Returns the number of positions of a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Returns the bytes of the last full block of `ids`, if it is cached and all tokens up to its
    /// end were computed as prompt. Waits for the running forward batch.
    ///
    /// # Errors
    /// [`EngineError::Model`] if it cannot be copied; [`EngineError::ShutDown`]; the error that has
    /// stopped the engine.
    pub fn read(&self, ids: &[u32]) -> Result<Option<Vec<u8>>, EngineError> {
        let (reply, read) = bounded(1);
        let ids = self.full(ids);
        self.send(BlockCommand::Read { ids, reply })?;
        self.wait(&read)
    }

    /// Adds the last full block of `ids` to the cache, with bytes of [`PrefixBlocks::read`] in this
    /// or another process with the same format and weights. Waits for the running forward batch.
    /// Returns false if the block before it is not cached, if it is cached already, or if no block
    /// is free.
    ///
    /// # Errors
    /// [`EngineError::Model`] if it cannot be copied; [`EngineError::ShutDown`]; the error that has
    /// stopped the engine.
    pub fn write(&self, ids: &[u32], bytes: Vec<u8>) -> Result<bool, EngineError> {
        let (reply, written) = bounded(1);
        let ids = self.full(ids);
        self.send(BlockCommand::Write { ids, bytes, reply })?;
        self.wait(&written)
    }

    /// Calls `then` once, on the worker thread, when all full blocks of `ids` have been computed as
    /// prompt. It must not block. It is dropped if the engine is shut down before.
    ///
    /// # Errors
    /// [`EngineError::ShutDown`].
    pub fn when_computed(
        &self,
        ids: &[u32],
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), EngineError> {
        let (ids, then) = (self.full(ids), Box::new(then));
        self.send(BlockCommand::Wait(BlockWait { ids, then }))
    }

    fn wait<T>(&self, reply: &Receiver<Result<T, EngineError>>) -> Result<T, EngineError> {
        loop {
            match reply.recv_timeout(POLL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => return Err(EngineError::ShutDown),
                // A worker thread that has stalled may never reply.
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(stalled @ EngineError::Stalled { .. }) = self.health.fault() {
                        return Err(stalled);
                    }
                }
            }
        }
    }

    fn full(&self, ids: &[u32]) -> Vec<u32> {
        let size = self.block_size.max(1);
        ids[..ids.len() / size * size].to_vec()
    }

    fn send(&self, command: BlockCommand) -> Result<(), EngineError> {
        let sent = self.commands.send(Command::Block(command));
        sent.map_err(|_| EngineError::ShutDown)
    }
}
