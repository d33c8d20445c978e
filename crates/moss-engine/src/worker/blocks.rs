//! Blocks of the prefix cache that are copied to and from bytes; see [`crate::PrefixBlocks`].

use moss_model::{ModelError, TokenKind};

use super::Worker;
use crate::{
    EngineError,
    cache::SequenceBlocks,
    command::{BlockCommand, BlockWait},
    panics::catch_panic,
    prefix_cache::Scope,
    sync::Arc,
};

impl Worker {
    pub(super) fn take_block(&mut self, command: BlockCommand) {
        // Sending fails if the thread does not wait for the reply any more.
        match command {
            BlockCommand::Read { ids, reply } => drop(reply.send(self.read_block(&ids))),
            BlockCommand::Write { ids, bytes, reply } => {
                drop(reply.send(self.write_block(&ids, &bytes)));
            }
            BlockCommand::Wait(wait) => {
                self.block_waits.push(wait);
                self.end_block_waits();
            }
        }
    }

    /// Calls the functions that wait for blocks which have been computed.
    pub(super) fn end_block_waits(&mut self) {
        for BlockWait { ids, then } in std::mem::take(&mut self.block_waits) {
            let found = self.find(&ids);
            let is_computed = found.is_some();
            self.release(found, &ids);
            if is_computed {
                then();
            } else {
                self.block_waits.push(BlockWait { ids, then });
            }
        }
    }

    fn read_block(&mut self, ids: &[u32]) -> Result<Option<Vec<u8>>, EngineError> {
        self.check_unbroken()?;
        let found = self.find(ids);
        let block = found
            .as_ref()
            .and_then(|found| found.table().blocks().last());
        let read = block.copied().map(|block| {
            let mut bytes = Vec::new();
            let read = catch_panic(|| self.model.read_block(block, &mut bytes));
            self.checked(read).map(|()| bytes)
        });
        self.release(found, ids);
        read.transpose()
    }

    fn write_block(&mut self, ids: &[u32], bytes: &[u8]) -> Result<bool, EngineError> {
        self.check_unbroken()?;
        let size = self.cache.shape().block_size;
        let mut blocks = SequenceBlocks::new(Scope::of_program());
        self.cache.reuse(&mut blocks, ids);
        let missing = ids.len() - blocks.positions();
        let has_room =
            (1..=size).contains(&missing) && self.cache.grow(&mut blocks, missing).is_ok();
        let block = blocks.table().blocks().last().copied().filter(|_| has_room);
        let written = block.map(|block| {
            let written = catch_panic(|| self.model.write_block(block, bytes));
            self.checked(written)
        });
        if let Some(Ok(())) = written {
            self.cache
                .advance(&mut blocks, ids, missing, TokenKind::Prompt);
        }
        self.cache.retire(blocks, ids);
        written.transpose().map(|written| written.is_some())
    }

    /// Returns the blocks of `ids`, whose number is a multiple of the block size, if all of them are
    /// cached and were computed as prompt.
    fn find(&mut self, ids: &[u32]) -> Option<SequenceBlocks> {
        let mut blocks = SequenceBlocks::new(Scope::of_program());
        // The last token of a prompt is never reused, so there is one more.
        self.cache.reuse(&mut blocks, &[ids, &[0]].concat());
        let is_whole = !ids.is_empty() && blocks.positions() == ids.len() && blocks.is_prompt();
        if is_whole {
            return Some(blocks);
        }
        self.cache.retire(blocks, ids);
        None
    }

    fn release(&mut self, found: Option<SequenceBlocks>, ids: &[u32]) {
        if let Some(blocks) = found {
            self.cache.retire(blocks, ids);
        }
    }

    fn check_unbroken(&self) -> Result<(), EngineError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Converts the result of a copy. After a panic or a lost device, all requests fail.
    fn checked(
        &mut self,
        copied: Result<Result<(), ModelError>, String>,
    ) -> Result<(), EngineError> {
        let error = match copied {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(source)) if !source.is_fatal() => {
                return Err(EngineError::Model {
                    step: 0,
                    source: Arc::new(source),
                });
            }
            Ok(Err(source)) => EngineError::DeviceLost {
                source: Arc::new(source),
            },
            Err(message) => EngineError::Panicked { message },
        };
        self.fail_all(error.clone());
        Err(error)
    }
}
