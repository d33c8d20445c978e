//! Loads the weights of a stage with several threads, because one core copies from mapped files at
//! a fraction of the rate that a GPU accepts.

use std::{
    ops::Range,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use moss_cuda::{DenseWeight, Gpu, GpuLinear, Read};

use super::{
    block::GpuBlock,
    head::Head,
    loader::{EmbeddingTable, Loader},
};
use crate::{LinearKind, LoadEvent, ModelError, placement::Stage, stage::StageSpec};

/// The part of the network on one GPU.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) embedding: Option<EmbeddingTable>,
    pub(super) head: Option<Head>,
    pub(super) blocks: Vec<GpuBlock>,
}

/// Bytes of a table that a thread copies at a time: fewer than a layer has, so that the threads
/// finish at about the same time.
const PIECE_BYTES: usize = 64 << 20;

#[derive(Debug, Clone)]
enum Part {
    Layer(usize),
    /// Some rows of a table.
    Rows(usize, Range<usize>),
}

/// An embedding or head whose rows are still to be copied, with the layer that an error names.
type Table<'a> = (usize, &'a GpuLinear, &'a DenseWeight);

impl StageSpec<'_> {
    /// Loads the stage. After an error, no thread starts another part.
    ///
    /// # Errors
    /// As for [`crate::Moss::load`]; the first error if several threads fail.
    pub(super) fn load(
        &self,
        gpu: &Gpu,
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Parts, ModelError> {
        let (first, end) = (self.plan.layers.start, self.config.num_layers);
        let failed = |source| ModelError::Kernel {
            layer: first,
            op: "load",
            source,
        };
        let read = |part: &[u8], to: &mut [u8]| self.source.read(part, to);
        let mut loader = Loader::new(gpu, self.source, &read).map_err(failed)?;
        let embedding = (first == 0)
            .then(|| loader.embedding(self.config, self.plan.embedding_on_host()))
            .transpose()?;
        let head = (self.plan.layers.end == end)
            .then(|| Head::load(&mut loader, self.config, self.options.decode_rows()))
            .transpose()?;
        let mut tables: Vec<Table<'_>> = Vec::with_capacity(2);
        if let Some((EmbeddingTable::Device(to), Some(from))) = &embedding {
            tables.push((0, to, from));
        }
        if let Some((to, Some(from))) = &head {
            tables.push((end, to.linear(), from));
        }
        let blocks = self.load_parts(loader, &read, &tables, progress)?;
        let (embedding, head) = (
            embedding.map(|(table, _)| table),
            head.map(|(head, _)| head),
        );
        Ok(Parts {
            embedding,
            head,
            blocks,
        })
    }

    fn load_parts(
        &self,
        loader: Loader<'_>,
        read: &Read<'_>,
        tables: &[Table<'_>],
        progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Vec<GpuBlock>, ModelError> {
        let (first, gpu) = (self.plan.layers.start, loader.gpu);
        let mut todo: Vec<_> = self.plan.layers.clone().map(Part::Layer).collect();
        for (index, (_, _, from)) in tables.iter().enumerate() {
            let rows = (PIECE_BYTES * from.out_features / from.data.len().max(1)).max(1);
            let pieces = (0..from.out_features).step_by(rows);
            todo.extend(pieces.map(|at| Part::Rows(index, at..from.out_features.min(at + rows))));
        }
        let mut blocks = Vec::with_capacity(self.plan.layers.len());
        let next = AtomicUsize::new(0);
        let work = |loader: Option<Loader<'_>>, sender: mpsc::SyncSender<_>| {
            let failed = |source| ModelError::Kernel {
                layer: first,
                op: "load",
                source,
            };
            let mut loader = match loader.map_or_else(|| Loader::new(gpu, self.source, read), Ok) {
                Ok(loader) => loader,
                Err(error) => return drop(sender.send(Err(failed(error)))),
            };
            // The receiver is dropped when a part has failed.
            while let Some(part) = todo.get(next.fetch_add(1, Ordering::Relaxed))
                && sender.send(self.part(part, tables, &mut loader)).is_ok()
            {}
        };
        thread::scope(|scope| {
            let (sender, loaded) = mpsc::sync_channel(0);
            let (mut first_loader, work) = (Some(loader), &work);
            for _ in 0..self.threads(todo.len()) {
                let (loader, sender) = (first_loader.take(), sender.clone());
                scope.spawn(move || work(loader, sender));
            }
            drop(sender);
            for part in loaded {
                if let Some((layer, block)) = part? {
                    progress(LoadEvent::Layer {
                        bytes: block.weight_bytes(),
                    });
                    blocks.push((layer, block));
                }
            }
            Ok::<_, ModelError>(())
        })?;
        blocks.sort_unstable_by_key(|(layer, _)| *layer);
        Ok(blocks.into_iter().map(|(_, block)| block).collect())
    }

    /// Loads a layer and returns it, or copies rows of a table.
    fn part(
        &self,
        part: &Part,
        tables: &[Table<'_>],
        loader: &mut Loader<'_>,
    ) -> Result<Option<(usize, GpuBlock)>, ModelError> {
        match part {
            Part::Layer(layer) => {
                let cache = (self.options.cache, self.options.kv_cache);
                let block = GpuBlock::load(loader, *layer, self.config, cache)?;
                Ok(Some((*layer, block)))
            }
            Part::Rows(table, rows) => {
                let (layer, to, from) = tables[*table];
                let failed = |source| ModelError::Kernel {
                    layer,
                    op: "load",
                    source,
                };
                loader
                    .rows(to, from, rows.clone())
                    .map(|()| None)
                    .map_err(failed)
            }
        }
    }

    /// Returns the number of threads: at most one per core and per part. Each needs device memory
    /// for a packed weight in the published layout.
    fn threads(&self, parts: usize) -> usize {
        // GPUs without virtual memory management allocate the whole cache with the layers.
        let Stage {
            weights,
            embedding,
            cache,
            free,
            ..
        } = self.plan;
        let room = free.saturating_sub(weights + embedding + cache);
        let published = self
            .source
            .stored_bytes(&LinearKind::FcIn.name(self.plan.layers.start), false)
            .max(1);
        let fitting = usize::try_from(room / published).unwrap_or(usize::MAX);
        parts.min(self.threads).min(fitting).max(1)
    }
}
