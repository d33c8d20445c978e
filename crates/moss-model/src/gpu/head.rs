//! The end of the network on a card: final norm, lm_head, and the cut to what sampling needs.

use half::f16;
use moss_cuda::{
    Buffer, CopyRun, CutRow, DenseWeight, FEW_ROWS, Gpu, GpuLinear, KernelError, LinearInput,
    NormWeights, Pinned, SampleCut, View, Watch,
};

use super::{MAX_STEP_ROWS, loader::Loader};
use crate::{Cut, ModelError, MossConfig, micro_batch::BatchOutput, names};

#[derive(Debug)]
pub(super) struct Head {
    norm: NormWeights,
    linear: GpuLinear,
    /// `[FEW_ROWS, stride]`
    normed: Buffer<f16>,
    /// `[FEW_ROWS, vocab]` f32
    logits: Buffer<f32>,
    fetched: Pinned<f32>,
    /// `None` where the vocabulary is too large for it.
    sample: Option<SampleCut>,
}

impl Head {
    /// With the rows of lm_head that are still to come.
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
                .zeros(FEW_ROWS * linear.input_stride())
                .map_err(kernel)?,
            logits: gpu.zeros(FEW_ROWS * vocab).map_err(kernel)?,
            fetched: gpu.pinned(FEW_ROWS * vocab).map_err(kernel)?,
            sample: SampleCut::new(gpu, MAX_STEP_ROWS, vocab, config.context_length)
                .map_err(kernel)?,
            linear,
        };
        Ok((head, rows))
    }

    /// lm_head.
    pub(super) fn linear(&self) -> &GpuLinear {
        &self.linear
    }

    pub(super) fn weight_bytes(&self) -> u64 {
        self.linear.weight_bytes()
    }

    /// Writes down how the rows to come are to be cut, for [`Head::wishes`]. More than
    /// [`MAX_STEP_ROWS`] come back whole.
    pub(super) fn wish(&mut self, cuts: &[Option<Cut<'_>>]) -> Result<(), KernelError> {
        let Some(sample) = self
            .sample
            .as_mut()
            .filter(|sample| cuts.len() <= sample.rows())
        else {
            return Ok(());
        };
        let wishes: Vec<_> = cuts.iter().map(|cut| cut.as_ref().map(wish)).collect();
        sample.put(&wishes)
    }

    /// The copies that take to the card what was wished for `count` rows.
    pub(super) fn wishes(&mut self, count: usize) -> Result<Vec<CopyRun<'_>>, KernelError> {
        let sample = self.sample.as_mut().filter(|sample| count <= sample.rows());
        sample.map_or(Ok(vec![]), |sample| Ok(sample.wishes(count)?.into()))
    }

    /// The copy that brings the candidates of `count` rows to the host.
    pub(super) fn candidates(&mut self, count: usize) -> Result<Option<CopyRun<'_>>, KernelError> {
        let sample = self.sample.as_mut().filter(|sample| count <= sample.rows());
        sample.map(|sample| sample.answers(count)).transpose()
    }

    /// Logits of `count` rows of `stream`: of `rows`, or of the first ones. Can be recorded.
    pub(super) fn run(
        &self,
        gpu: &Gpu,
        stream: &Buffer<f32>,
        rows: Option<View<'_, u32>>,
        count: usize,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        let input = LinearInput {
            values: &self.normed,
            stride: self.linear.input_stride(),
        };
        if self.linear.has_fillers() {
            gpu.clear(input.values)?;
        }
        gpu.layer_norm(stream, rows, count, &self.norm, &[(input, &self.linear)])?;
        gpu.linear_store(&self.linear, input, count, self.logits.all(), watch)?;
        match self.sample.as_ref().filter(|sample| count <= sample.rows()) {
            Some(sample) => gpu.sample_cut(self.logits.all(), count, sample),
            None => Ok(()),
        }
    }

    /// Waits for what [`Head::candidates`] brings, and fetches the rows that were not to be cut so.
    pub(super) fn collect(
        &mut self,
        cuts: &[Option<Cut<'_>>],
        answers: &mut BatchOutput,
    ) -> Result<(), KernelError> {
        let vocab = self.linear.out_features();
        let sample = self
            .sample
            .as_mut()
            .filter(|sample| cuts.len() <= sample.rows());
        let Some(sample) = sample.filter(|_| cuts.iter().any(Option::is_some)) else {
            self.fetched
                .copy_from(&self.logits, 0, cuts.len() * vocab)?;
            answers.extend(
                cuts.len(),
                self.fetched.as_slice()?[..cuts.len() * vocab].to_vec(),
            );
            return Ok(());
        };
        for (row, cut) in cuts.iter().enumerate() {
            match cut.as_ref().map_or(Ok(None), |_| sample.candidates(row))? {
                Some(candidates) => answers.cuts.push(Some(candidates)),
                None => {
                    self.fetched.copy_from(&self.logits, row * vocab, vocab)?;
                    answers.extend(1, self.fetched.as_slice()?[..vocab].to_vec());
                }
            }
        }
        Ok(())
    }

    /// The final norm's output, widened, for a hook.
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

fn wish<'a>(cut: &Cut<'a>) -> CutRow<'a> {
    let Cut {
        history,
        repetition_penalty,
        temperature,
        top_k,
        allowed,
    } = *cut;
    CutRow {
        history,
        repetition_penalty,
        temperature,
        top_k,
        allowed,
    }
}
