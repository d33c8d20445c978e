//! The end of the network on a GPU: final norm, lm_head, and sampling.

use half::f16;
use moss_cuda::{
    Buffer, CopyRun, DenseWeight, DeviceSampler, Gpu, GpuLinear, InputOrder, KernelError,
    LinearInput, NonFiniteCheck, NormWeights, Pinned, View, fragment_column,
};
use moss_sampling::SampleRequest;

use super::{loader::Loader, workspace::Workspace};
use crate::{
    ModelError, MossConfig, TokenKind, decode_rows::head_rows, micro_batch::BatchOutput, names,
};

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
    sampler: Option<DeviceSampler>,
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
            sampler: DeviceSampler::new(gpu, decode_rows, vocab, config.context_length)
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

    /// Writes the requests of the next rows to host memory, for [`Head::upload_requests`]. For
    /// more rows than a decode step has, whole rows of logits are returned instead.
    pub(super) fn stage_requests(
        &mut self,
        requests: &[Option<SampleRequest<'_>>],
    ) -> Result<(), KernelError> {
        let sampler = self.sampler.as_mut();
        sampler
            .filter(|sampler| requests.len() <= sampler.max_rows())
            .map_or(Ok(()), |sampler| sampler.stage(requests))
    }

    /// Returns the copies of the staged requests of `count` rows to the GPU.
    pub(super) fn upload_requests(
        &mut self,
        count: usize,
    ) -> Result<Vec<CopyRun<'_>>, KernelError> {
        let sampler = self.sampler.as_mut();
        sampler
            .filter(|sampler| count <= sampler.max_rows())
            .map_or(Ok(vec![]), |sampler| Ok(sampler.upload(count)?.into()))
    }

    /// Returns the copy of the sampled tokens of `count` rows to the host.
    pub(super) fn download_tokens(
        &mut self,
        count: usize,
    ) -> Result<Option<CopyRun<'_>>, KernelError> {
        let sampler = self.sampler.as_mut();
        sampler
            .filter(|sampler| count <= sampler.max_rows())
            .map(|sampler| sampler.download(count))
            .transpose()
    }

    /// Computes the logits of `count` tokens of the residual stream, those in `rows` or the first,
    /// and samples. Can be captured in a CUDA graph.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        workspace: &Workspace,
        rows: Option<View<'_, u32>>,
        count: usize,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        let stream = &workspace.stream;
        let input = LinearInput {
            values: &self.normed,
            stride: self.linear.input_stride(),
            order: workspace.order(&self.linear, count, TokenKind::Generated), // one path
        };
        if self.linear.has_padding() {
            gpu.clear(input.values)?;
        }
        gpu.layer_norm(stream, rows, count, &self.norm, &[(input, &self.linear)])?;
        gpu.linear_store(&self.linear, input, count, self.logits.all(), check)?;
        match self
            .sampler
            .as_ref()
            .filter(|sampler| count <= sampler.max_rows())
        {
            Some(sampler) => gpu.sample(self.logits.all(), count, sampler),
            None => Ok(()),
        }
    }

    /// Waits for the tokens of [`Head::download_tokens`], and copies the rows without a token,
    /// [`FETCHED_ROWS`] at a time.
    pub(super) fn collect(
        &mut self,
        gpu: &Gpu,
        requests: &[Option<SampleRequest<'_>>],
        output: &mut BatchOutput,
    ) -> Result<(), KernelError> {
        let vocab = self.linear.out_features();
        let sampler = self.sampler.as_ref().filter(|sampler| {
            requests.len() <= sampler.max_rows() && requests.iter().any(Option::is_some)
        });
        let first = output.tokens.len();
        if let Some(sampler) = sampler {
            output.tokens.extend(sampler.tokens()?.take(requests.len()));
        }
        output.tokens.resize(first + requests.len(), None);
        let tokens = output.tokens[first..].iter().enumerate();
        let whole_rows: Vec<usize> = tokens
            .filter(|(_, token)| token.is_none())
            .map(|(row, _)| row)
            .collect();
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
    pub(super) fn normed(
        &self,
        gpu: &Gpu,
        workspace: &Workspace,
        count: usize,
    ) -> Result<Vec<f32>, KernelError> {
        let stride = self.linear.input_stride();
        let values = gpu.download(&self.normed, count * stride)?;
        let place = match workspace.order(&self.linear, count, TokenKind::Generated) {
            InputOrder::Columns => |column| column,
            InputOrder::Fragments(_) | InputOrder::PromptFragments => fragment_column,
        };
        let rows = values.chunks_exact(stride);
        let columns = 0..self.linear.in_features();
        Ok(rows
            .flat_map(|row| columns.clone().map(|column| row[place(column)].to_f32()))
            .collect())
    }
}

/// Enqueues the copies of the report of non-finite values and, of a head, of the tokens sampled after
/// `n` tokens, in one launch. Can be captured.
pub(super) fn copy_results(
    gpu: &Gpu,
    workspace: &mut Workspace,
    head: Option<&mut Head>,
    n: usize,
) -> Result<(), KernelError> {
    let tokens = head.map_or(Ok(None), |head| head.download_tokens(n))?;
    let runs: Vec<_> = tokens
        .into_iter()
        .chain([workspace.non_finite.memcpy()?])
        .collect();
    gpu.batched_memcpy(&runs)
}
