//! The input of a stage: token ids, or hidden states of the previous stage.

use moss_cuda::{KernelError, StageTransfer};

use super::{GpuStage, loader::EmbeddingTable};
use crate::{
    ModelError,
    micro_batch::{MAX_BATCH_TOKENS, MicroBatch},
    stage::StageInput,
};

impl GpuStage {
    /// Copies the input of `batch`, of `rows` rows with its padding, to the residual stream. Clears
    /// the report of non-finite values before the first micro-batch.
    pub(super) fn receive(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        rows: usize,
        input: StageInput<'_>,
    ) -> Result<(), ModelError> {
        let layer = self.layers.start;
        let failed = |source| ModelError::Kernel {
            layer,
            op: "stage transfer",
            source,
        };
        if let Some(embedding) = &self.embedding {
            return match embedding {
                EmbeddingTable::Host(table) => self
                    .workspace
                    .put_embedding(batch.token_ids(), rows, table)
                    .map_err(|source| ModelError::Kernel {
                        layer,
                        op: "embedding",
                        source,
                    }),
                EmbeddingTable::Device(_) => Ok(()),
            };
        }
        if batch.index == 0 {
            self.workspace.non_finite.clear(&self.gpu).map_err(failed)?;
        }
        match input {
            StageInput::TokenIds(_) => return Err(ModelError::NoStageInput { layer }),
            StageInput::Host(x) => self
                .workspace
                .put_stream(&x, rows * self.config.hidden_size),
            StageInput::Device { gpu, stream } => {
                let transfer = match self.transfer.take() {
                    Some(transfer) => transfer,
                    None => {
                        let bytes = MAX_BATCH_TOKENS * self.config.hidden_size * size_of::<f32>();
                        let transfer = StageTransfer::new(gpu, &self.gpu, bytes, self.peer_copies);
                        let transfer = transfer.map_err(failed)?;
                        tracing::info!(layer, path = ?transfer.path(), "stage transfer");
                        transfer
                    }
                };
                let transfer = self.transfer.insert(transfer);
                let to = (&self.gpu, &self.workspace.stream);
                // The previous stage has computed the same padding rows.
                transfer.copy((gpu, stream), to, rows * self.config.hidden_size)
            }
        }
        .map_err(failed)
    }

    pub(super) fn embed(&self, n: usize, batch: usize) -> Result<(), KernelError> {
        let w = &self.workspace;
        let (table, ids) = match &self.embedding {
            Some(EmbeddingTable::Device(table)) => (table.dense_rows()?, w.ids(n)?),
            _ => (
                (w.embedding_rows()?.all(), self.config.hidden_size),
                w.row_numbers(n)?,
            ),
        };
        // The first micro-batch clears the report.
        let flag = (batch == 0).then_some(&w.non_finite.device);
        self.gpu
            .embedding(table, ids, self.config.hidden_size, n, &w.stream, flag)
    }
}
