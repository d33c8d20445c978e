//! Writes a stream of tensors into shards.

use moss_checkpoint::{Checkpoint, Container, Outline, ShardWriter};

use crate::{QuantizeError, folder::NewFolder};

/// The shards of a folder, written one after the other.
pub(crate) struct Shards<'a> {
    folder: &'a mut NewFolder,
    container: Container,
    shards: &'a [Vec<Outline>],
    /// Index of the current shard.
    number: usize,
    /// Bytes that the current shard still needs.
    missing: u64,
    writer: Option<ShardWriter>,
}

impl<'a> Shards<'a> {
    pub(crate) fn new(
        folder: &'a mut NewFolder,
        container: Container,
        shards: &'a [Vec<Outline>],
    ) -> Self {
        Self {
            folder,
            container,
            shards,
            number: 0,
            missing: 0,
            writer: None,
        }
    }

    pub(crate) fn copy(
        &mut self,
        from: &Checkpoint,
        tensor: &Outline,
    ) -> Result<(), QuantizeError> {
        from.for_each_piece(&tensor.name, &mut |piece| self.append(piece))
    }

    /// Appends bytes. A call's bytes are never split between shards.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), QuantizeError> {
        if self.missing == 0 {
            self.close()?;
            if let Some(tensors) = self.shards.get(self.number) {
                let path = self
                    .folder
                    .path(&self.container.file_name(self.number + 1, self.shards.len()));
                self.writer = Some(ShardWriter::create(&path, self.container, tensors)?);
                self.missing = tensors.iter().map(Outline::bytes).sum();
            }
        }
        if let Some(writer) = &mut self.writer {
            writer.append(bytes)?;
        }
        self.missing = self.missing.saturating_sub(bytes.len() as u64);
        Ok(())
    }

    /// Finishes the current shard and verifies it.
    fn close(&mut self) -> Result<(), QuantizeError> {
        if let (Some(writer), Some(tensors)) = (self.writer.take(), self.shards.get(self.number)) {
            let name = self.container.file_name(self.number + 1, self.shards.len());
            self.folder.verify(&name, tensors, writer.finish()?)?;
            self.number += 1;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), QuantizeError> {
        self.close()
    }
}
