//! The end of the network on a GPU: final norm, lm_head, and top-k selection for sampling.

use half::f16;
use moss_cuda::{
    Buffer, CopyRun, DenseWeight, DeviceTopK, Gpu, GpuLinear, KernelError, LinearInput,
    NonFiniteCheck, NormWeights, Pinned, View,
};
use moss_sampling::TopKRequest;

use super::{MAX_STEP_ROWS, loader::Loader, workspace::Workspace};
use crate::{
    ModelError, MossConfig,
    micro_batch::{BatchOutput, MAX_DECODE_ROWS},
    names,
};

#[derive(Debug)]
pub(super) struct Head {
    norm: NormWeights,
    linear: GpuLinear,
    /// `[MAX_DECODE_ROWS, stride]`
    normed: Buffer<f16>,
    /// `[MAX_DECODE_ROWS, vocab]` f32
    logits: Buffer<f32>,
    fetched: Pinned<f32>,
    /// `None` if the vocabulary is too large for it.
    top_k: Option<DeviceTopK>,
}

impl Head {
    /// Allocates the head. Returns the rows of lm_head that are still to be copied.
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &MossConfig,
    ) -> Result<(Self, Option<DenseWeight>), ModelError> {
        let (layer, vocab) = (config.num_layers, config.vocab_size);
        let kernel = |source| ModelError::Kernel {
            layer,
            op: "load",
            source,
        };
        let (linear, rows) = loader.lm_head(config)?;
        let norm = loader.norm(layer, names::FINAL_NORM, config)?;
        let gpu = loader.gpu;
        let head = Self {
            norm,
            normed: gpu
                .zeros(MAX_DECODE_ROWS * linear.input_stride())
                .map_err(kernel)?,
            logits: gpu.zeros(MAX_DECODE_ROWS * vocab).map_err(kernel)?,
            fetched: gpu.pinned(MAX_DECODE_ROWS * vocab).map_err(kernel)?,
            top_k: DeviceTopK::new(gpu, MAX_STEP_ROWS, vocab, config.context_length)
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

    /// Writes the requests of the next rows to host memory, for [`Head::upload_top_k`]. Above
    /// [`MAX_STEP_ROWS`] rows, whole rows of logits are returned instead.
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
    /// candidates.
    pub(super) fn collect(
        &mut self,
        requests: &[Option<TopKRequest<'_>>],
        output: &mut BatchOutput,
    ) -> Result<(), KernelError> {
        let (vocab, rows) = (self.linear.out_features(), requests.len());
        let top_k = self
            .top_k
            .as_mut()
            .filter(|top_k| rows <= top_k.max_rows() && requests.iter().any(Option::is_some));
        let Some(top_k) = top_k else {
            self.fetched.copy_from(&self.logits, 0, rows * vocab)?;
            output.extend(rows, self.fetched.as_slice()?[..rows * vocab].to_vec());
            return Ok(());
        };
        for (row, request) in requests.iter().enumerate() {
            let candidates = match request {
                Some(_) => top_k.candidates(row)?,
                None => None,
            };
            if candidates.is_some() {
                output.top_k.push(candidates);
            } else {
                self.fetched.copy_from(&self.logits, row * vocab, vocab)?;
                output.extend(1, self.fetched.as_slice()?[..vocab].to_vec());
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
