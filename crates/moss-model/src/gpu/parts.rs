//! A stage's weights, read by several threads at once: one core cannot copy out of mapped files as fast as a card takes them in.

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use moss_kernels::cuda::Gpu;

use super::{
    block::GpuBlock,
    head::Head,
    loader::{EmbeddingTable, Loader},
};
use crate::{LoadEvent, ModelError, load::Wanted, names::LayerNames};

/// What of the network lies on one card.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) embedding: Option<EmbeddingTable>,
    pub(super) head: Option<Head>,
    pub(super) blocks: Vec<GpuBlock>,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Embedding,
    Head,
    Layer(usize),
}

enum Loaded {
    Embedding(EmbeddingTable),
    Head(Box<Head>),
    Layer(usize, Box<GpuBlock>),
}

impl Wanted<'_> {
    /// Loads all of them. After an error nothing more is begun.
    ///
    /// # Errors
    /// As for [`crate::Moss::load`]; the first of them where several threads fail.
    pub(super) fn load(&self, gpu: &Gpu, progress: &mut dyn FnMut(LoadEvent)) -> Result<Parts, ModelError> {
        let (first, end) = (self.layers.start, self.layers.end);
        // The largest first, so that no thread is left alone with one at the end.
        let mut todo = Vec::with_capacity(self.layers.len() + 2);
        todo.extend((first == 0).then_some(Part::Embedding));
        todo.extend((end == self.config.num_layers).then_some(Part::Head));
        todo.extend(self.layers.clone().map(Part::Layer));

        let mut parts = Parts { embedding: None, head: None, blocks: Vec::with_capacity(self.layers.len()) };
        let mut blocks = Vec::with_capacity(self.layers.len());
        let next = AtomicUsize::new(0);
        let work = |sender: mpsc::SyncSender<Result<Loaded, ModelError>>| {
            let failed = |source| ModelError::Kernel { layer: first, op: "load", source };
            let mut loader = match Loader::new(gpu, self.source).map_err(failed) {
                Ok(loader) => loader,
                Err(error) => return drop(sender.send(Err(error))),
            };
            // Nobody listens any more once a part has failed.
            while let Some(part) = todo.get(next.fetch_add(1, Ordering::Relaxed))
                && sender.send(self.part(*part, &mut loader)).is_ok()
            {}
        };
        thread::scope(|scope| {
            let (sender, loaded) = mpsc::sync_channel(0);
            for _ in 0..self.threads(todo.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            for part in loaded {
                match part? {
                    Loaded::Embedding(table) => parts.embedding = Some(table),
                    Loaded::Head(head) => parts.head = Some(*head),
                    Loaded::Layer(layer, block) => {
                        progress(LoadEvent::Layer { bytes: block.weight_bytes() });
                        blocks.push((layer, *block));
                    }
                }
            }
            Ok::<_, ModelError>(())
        })?;
        blocks.sort_unstable_by_key(|(layer, _)| *layer);
        parts.blocks.extend(blocks.into_iter().map(|(_, block)| block));
        Ok(parts)
    }

    fn part(&self, part: Part, loader: &mut Loader<'_>) -> Result<Loaded, ModelError> {
        Ok(match part {
            Part::Embedding => Loaded::Embedding(loader.embedding(self.config, self.embedding_on_host)?),
            Part::Head => Loaded::Head(Box::new(Head::load(loader, self.config)?)),
            Part::Layer(layer) => {
                let block = GpuBlock::load(loader, layer, self.config, self.options.cache)?;
                Loaded::Layer(layer, Box::new(block))
            }
        })
    }

    /// As many as there are cores. Each has a packed weight as published on the card beside the model, for which there has to be room.
    fn threads(&self, parts: usize) -> usize {
        let room = self.memory.free.saturating_sub(self.memory.weights + self.memory.embedding);
        let published = self.source.stored_bytes(&LayerNames::new(self.layers.start).fc_in, false).max(1);
        let fitting = usize::try_from(room / published).unwrap_or(usize::MAX);
        parts.min(rayon::current_num_threads()).min(fitting).max(1)
    }
}
