//! The cache blocks of a GPU stage as bytes.

use super::GpuStage;
use crate::{
    ModelError,
    stored_blocks::{StoredBlocks, in_cache, parts},
};

impl StoredBlocks for GpuStage {
    fn code(&self) -> String {
        self.gpu.code_description()
    }

    fn block_bytes(&self) -> usize {
        let layers = self.blocks.iter();
        layers.map(|layer| layer.cache().block_bytes()).sum()
    }

    fn read_block(&mut self, block: usize, out: &mut Vec<u8>) -> Result<(), ModelError> {
        self.map_blocks(block + 1)?;
        for (layer, weights) in self.layers.clone().zip(&self.blocks) {
            let read = weights.cache().read_block(&self.gpu, block, out);
            read.map_err(|source| in_cache(layer, source))?;
        }
        Ok(())
    }

    fn write_block(&mut self, block: usize, bytes: &[u8]) -> Result<(), ModelError> {
        self.map_blocks(block + 1)?;
        let parts = parts(bytes, self.blocks.len());
        for ((layer, weights), bytes) in self.layers.clone().zip(&self.blocks).zip(parts) {
            let written = weights.cache().write_block(&self.gpu, block, bytes);
            written.map_err(|source| in_cache(layer, source))?;
        }
        Ok(())
    }
}
