//! Cache blocks of all stages as bytes.

use super::Pipeline;
use crate::{
    ModelError,
    stored_blocks::{BlockFormat, Rounding},
};

/// A digest of the code that computes the cache, made by the build script.
const CODE: &str = env!("MOSS_MODEL_CODE");

impl Pipeline {
    /// Returns the form of a cache block of `positions`.
    pub(crate) fn block_format(&self, positions: usize, rounding: Rounding) -> BlockFormat {
        let Rounding {
            dtype,
            activations,
            rope,
            kv_cache,
        } = rounding;
        let mut description = format!(
            "code {CODE}, {positions} positions, {dtype:?}, activations {activations:?}, rope {rope:?}, cache {kv_cache:?}"
        );
        let codes = self
            .stages
            .iter()
            .map(|(_, stage)| (stage.layers(), stage.code()));
        let mut codes = codes.peekable();
        while let Some((mut layers, code)) = codes.next() {
            while let Some((next, _)) = codes.next_if(|(_, next)| *next == code) {
                layers.end = next.end;
            }
            description += &format!(", layers {} to {}: {code}", layers.start, layers.end);
        }
        let bytes = self.stages.iter().map(|(_, stage)| stage.block_bytes());
        BlockFormat {
            bytes: bytes.sum(),
            description,
        }
    }

    /// Appends a block of all stages to `out`.
    pub(crate) fn read_block(&mut self, block: u32, out: &mut Vec<u8>) -> Result<(), ModelError> {
        for index in 0..self.stages.len() {
            let read = self.stages[index].1.read_block(block as usize, out);
            read.map_err(|error| self.with_stage_context(index, error))?;
        }
        Ok(())
    }

    /// Replaces a block in all stages. Too few bytes are an error of the stage that lacks them.
    pub(crate) fn write_block(&mut self, block: u32, mut bytes: &[u8]) -> Result<(), ModelError> {
        let last = self.stages.len() - 1;
        for index in 0..self.stages.len() {
            let stage = &mut self.stages[index].1;
            let own = if index == last {
                bytes
            } else {
                let (own, rest) = bytes.split_at(stage.block_bytes().min(bytes.len()));
                bytes = rest;
                own
            };
            let written = stage.write_block(block as usize, own);
            written.map_err(|error| self.with_stage_context(index, error))?;
        }
        Ok(())
    }
}
