//! Decode steps as CUDA graphs. A step runs the same kernels at other positions, so it is captured
//! once per number of rows and then launched as one graph.

use moss_cuda::{Graph, KernelError};

use super::{GpuStage, head::copy_results};
use crate::{
    ModelError, TokenKind, decode_rows::captured_rows, hook::Hook, micro_batch::MicroBatch,
};

impl GpuStage {
    /// Returns the rows of the CUDA graph that computes `batch`, padding included; `None` if it is
    /// launched kernel by kernel. A graph needs generated tokens whose logits are all needed, and
    /// no hook. Only the first micro-batch of a forward pass can be one, because a graph begins by
    /// clearing the report of non-finite values, which may be of an earlier micro-batch.
    pub(super) fn step_rows(
        &self,
        batch: &MicroBatch<'_, '_>,
        hook: &Hook<'_, '_>,
    ) -> Option<usize> {
        let n = batch.len();
        let is_step = batch.kind == TokenKind::Generated && batch.wanted.len() == n;
        (is_step && n <= self.decode_rows && batch.index == 0 && hook.0.is_none())
            .then(|| captured_rows(n))
    }

    /// Launches the graph of `batch`, of `rows` rows. It is captured at the first step with this
    /// number of rows.
    pub(super) fn launch_decode_graph(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        rows: usize,
    ) -> Result<(), ModelError> {
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        if let Some(head) = &mut self.head {
            let mut requests = batch.requests.clone();
            requests.resize(rows, None);
            head.stage_requests(&requests)
                .map_err(at(self.layers.end, "sampling"))?;
        }
        if !self.graphs.contains_key(&rows) {
            let graph = Graph::capture(self.gpu.graph_capture(), || self.decode_step(rows));
            self.graphs
                .insert(rows, graph.map_err(at(self.layers.start, "graph capture"))?);
        }
        if let Some(graph) = self.graphs.get_mut(&rows) {
            graph
                .launch()
                .map_err(at(self.layers.start, "graph launch"))?;
        }
        Ok(())
    }

    /// Enqueues a whole step of `rows` rows, from inputs in host memory to results in host memory.
    fn decode_step(&mut self, rows: usize) -> Result<(), KernelError> {
        let mut runs = vec![self.workspace.step_inputs()?];
        if let Some(head) = &mut self.head {
            runs.extend(head.upload_requests(rows)?);
        }
        self.gpu.batched_memcpy(&runs)?;
        if self.embedding.is_some() {
            self.embed(rows, 0)?;
        }
        for layer in self.layers.clone() {
            self.layer(layer, 0, rows, TokenKind::Generated)?;
        }
        if let Some(head) = &mut self.head {
            let check = self.workspace.non_finite.check(0, self.layers.end);
            head.run(&self.gpu, &self.workspace, None, rows, check)?;
        }
        copy_results(&self.gpu, &mut self.workspace, self.head.as_mut(), rows)
    }
}
