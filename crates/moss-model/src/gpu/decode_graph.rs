//! Decode steps as CUDA graphs: a step in which every sequence brings one token is the same work at
//! other positions, so it is captured once for each number of sequences and then launched as one
//! graph.

use moss_cuda::{Gpu, Graph, KernelError};

use super::{GpuStage, MAX_STEP_ROWS, head::Head, workspace::Workspace};
use crate::{ModelError, hook::Hook, micro_batch::MicroBatch};

impl GpuStage {
    /// Returns whether `batch` is a step in which every sequence brings one token and wants an
    /// answer, without a hook. Only the first micro-batch of a forward can be one: a graph begins by
    /// clearing the report of non-finite values, which may be of a micro-batch before it.
    pub(super) fn is_decode_step(&self, batch: &MicroBatch<'_, '_>, hook: &Hook<'_, '_>) -> bool {
        let n = batch.len();
        let is_step = batch.wanted.len() == n && batch.sequences.len() == n && n <= MAX_STEP_ROWS;
        is_step && batch.index == 0 && n < self.many_rows_from && hook.0.is_none()
    }

    /// Launches the graph of `batch`, captured at the first step of as many sequences.
    pub(super) fn launch_decode_graph(
        &mut self,
        batch: &MicroBatch<'_, '_>,
    ) -> Result<(), ModelError> {
        let n = batch.len();
        let at = |layer, op| move |source| ModelError::Kernel { layer, op, source };
        if let Some(head) = &mut self.head {
            head.stage_top_k(&batch.top_k)
                .map_err(at(self.layers.end, "sampling"))?;
        }
        if !self.graphs.contains_key(&n) {
            let graph = Graph::record(self.gpu.recorder(), || self.decode_step(n));
            self.graphs
                .insert(n, graph.map_err(at(self.layers.start, "record a step"))?);
        }
        if let Some(graph) = self.graphs.get_mut(&n) {
            graph
                .launch()
                .map_err(at(self.layers.start, "start a step"))?;
        }
        Ok(())
    }

    /// Enqueues all of a step of `n` sequences, from inputs in host memory to results in host
    /// memory.
    fn decode_step(&mut self, n: usize) -> Result<(), KernelError> {
        let mut runs = vec![self.workspace.step_numbers()?];
        if let Some(head) = &mut self.head {
            runs.extend(head.upload_top_k(n)?);
        }
        self.gpu.copy_runs(&runs)?;
        if self.embedding.is_some() {
            self.embed(n, 0)?;
        }
        for layer in self.layers.clone() {
            self.layer(layer, 0, n)?;
        }
        if let Some(head) = &mut self.head {
            let watch = self.workspace.non_finite.check(0, self.layers.end);
            head.run(&self.gpu, &self.workspace.stream, None, n, watch)?;
        }
        copy_results(&self.gpu, &mut self.workspace, self.head.as_mut(), n)
    }
}

/// Enqueues the copies of the report of non-finite values and, of a head, of the candidates of `n`
/// tokens, in one launch. Can be captured.
pub(super) fn copy_results(
    gpu: &Gpu,
    workspace: &mut Workspace,
    head: Option<&mut Head>,
    n: usize,
) -> Result<(), KernelError> {
    let candidates = head.map_or(Ok(None), |head| head.download_top_k(n))?;
    let runs: Vec<_> = candidates
        .into_iter()
        .chain([workspace.non_finite.memcpy()?])
        .collect();
    gpu.copy_runs(&runs)
}
