//! The end of the network on a GPU: final norm, lm_head, and top-k selection for sampling.

use half::f16;
use moss_cuda::{
    Buffer, CopyRun, DenseWeight, DeviceTopK, Gpu, GpuLinear, KernelError, LinearInput,
    NonFiniteCheck, NormWeights, Pinned, View,
};
use moss_sampling::TopKRequest;

use super::{loader::Loader, workspace::Workspace};
use crate::{ModelError, MossConfig, decode_rows::head_rows, micro_batch::BatchOutput, names};

/// Whole rows of logits whose copies to the host are in flight at the same time: enough for the
/// bus, and 7 MB of page-locked memory at the published size.
const FETCHED_ROWS: usize = 16;

#[derive(Debug)]
pub(super) struct Head {
    norm: NormWeights,
    linear: GpuLinear,
    /// `[head_rows, stride]`
    normed: Buffer<f16>,
    /// `[head_rows, vocab]` f32
    logits: Buffer<f32>,
    /// Up to [`FETCHED_ROWS`] rows of logits, allocated when the first is needed.
    fetched: Vec<Pinned<f32>>,
    /// `None` if the vocabulary is too large for it.
    top_k: Option<DeviceTopK>,
}

impl Head {
    /// Allocates the head. Returns the rows of lm_head that are still to be copied.
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &MossConfig,
        decode_rows: usize,
    ) -> Result<(Self, Option<DenseWeight>), ModelError> {
        let (layer, vocab) = (config.num_layers, config.vocab_size);
        let kernel = |source| ModelError::Kernel {
            layer,
            op: "load",
            source,
        };
        let (linear, rows) = loader.lm_head(config)?;
        let norm = loader.norm(layer, names::FINAL_NORM, config)?;
        let (gpu, rows_at_once) = (loader.gpu, head_rows(decode_rows));
        let head = Self {
            norm,
            normed: gpu
                .zeros(rows_at_once * linear.input_stride())
                .map_err(kernel)?,
            logits: gpu.zeros(rows_at_once * vocab).map_err(kernel)?,
            fetched: Vec::new(),
            top_k: DeviceTopK::new(gpu, decode_rows, vocab, config.context_length)
                .map_err(kernel)?,
            linear,
        };
        Ok((head, rows))
    }

    /// Returns lm_head.
    pub(super) fn linear(&self) -> &GpuLinear {
        &self.linear
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        self.linear.weight_bytes()
    }

    /// Writes the requests of the next rows to host memory, for [`Head::upload_top_k`]. For
    /// more rows than a decode step has, whole rows of logits are returned instead.
    pub(super) fn stage_top_k(
        &mut self,
        requests: &[Option<TopKRequest<'_>>],
    ) -> Result<(), KernelError> {
        let top_k = self.top_k.as_mut();
        top_k
            .filter(|top_k| requests.len() <= top_k.max_rows())
            .map_or(Ok(()), |top_k| top_k.stage(requests))
    }

    /// Returns the copies of the staged requests of `count` rows to the GPU.
    pub(super) fn upload_top_k(&mut self, count: usize) -> Result<Vec<CopyRun<'_>>, KernelError> {
        let top_k = self.top_k.as_mut();
        top_k
            .filter(|top_k| count <= top_k.max_rows())
            .map_or(Ok(vec![]), |top_k| Ok(top_k.upload(count)?.into()))
    }

    /// Returns the copy of the candidates of `count` rows to the host.
    pub(super) fn download_top_k(
        &mut self,
        count: usize,
    ) -> Result<Option<CopyRun<'_>>, KernelError> {
        let top_k = self.top_k.as_mut();
        top_k
            .filter(|top_k| count <= top_k.max_rows())
            .map(|top_k| top_k.download(count))
            .transpose()
    }

    /// Computes the logits of `count` tokens of `stream`: those in `rows`, or the first. Can be
    /// captured in a CUDA graph.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        stream: &Buffer<f32>,
        rows: Option<View<'_, u32>>,
        count: usize,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        let input = LinearInput {
            values: &self.normed,
            stride: self.linear.input_stride(),
        };
        if self.linear.has_padding() {
            gpu.clear(input.values)?;
        }
        gpu.layer_norm(stream, rows, count, &self.norm, &[(input, &self.linear)])?;
        gpu.linear_store(&self.linear, input, count, self.logits.all(), check)?;
        match self
            .top_k
            .as_ref()
            .filter(|top_k| count <= top_k.max_rows())
        {
            Some(top_k) => gpu.top_k(self.logits.all(), count, top_k),
            None => Ok(()),
        }
    }

    /// Waits for the candidates of [`Head::download_top_k`], and copies the rows without
    /// candidates, [`FETCHED_ROWS`] at a time.
    pub(super) fn collect(
        &mut self,
        gpu: &Gpu,
        requests: &[Option<TopKRequest<'_>>],
        output: &mut BatchOutput,
    ) -> Result<(), KernelError> {
        let vocab = self.linear.out_features();
        let top_k = self
            .top_k
            .as_ref()
            .filter(|top_k| requests.len() <= top_k.max_rows());
        let mut whole_rows = Vec::new();
        for (row, request) in requests.iter().enumerate() {
            let candidates = match (top_k, request) {
                (Some(top_k), Some(_)) => top_k.candidates(row)?,
                _ => None,
            };
            if candidates.is_none() {
                whole_rows.push(row);
            }
            output.top_k.push(candidates);
        }
        output.logits.reserve(whole_rows.len() * vocab);
        for rows in whole_rows.chunks(FETCHED_ROWS) {
            while self.fetched.len() < rows.len() {
                self.fetched.push(gpu.pinned(vocab)?);
            }
            // All copies are enqueued before the first wait.
            for (fetched, row) in self.fetched.iter_mut().zip(rows) {
                fetched.copy_from(&self.logits, row * vocab, vocab)?;
            }
            for fetched in &self.fetched[..rows.len()] {
                output
                    .logits
                    .extend_from_slice(&fetched.as_slice()?[..vocab]);
            }
        }
        Ok(())
    }

    /// Returns the output of the final norm in f32, for a hook.
    pub(super) fn normed(&self, gpu: &Gpu, count: usize) -> Result<Vec<f32>, KernelError> {
        let stride = self.linear.input_stride();
        let values = gpu.download(&self.normed, count * stride)?;
        let rows = values.chunks_exact(stride);
        Ok(rows
            .flat_map(|row| {
                row[..self.linear.in_features()]
                    .iter()
                    .map(|half| half.to_f32())
            })
            .collect())
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
    gpu.batched_memcpy(&runs)
}
