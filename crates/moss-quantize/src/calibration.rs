//! The hidden states of the calibration texts, which pass through the network layer by layer.

use moss_model::{MossConfig, WeightSource};
use moss_weights::KernelError;

use crate::{
    QuantizeError, Sample, TextSet,
    device::Device,
    hessian::Hessian,
    layer::{Layer, SequenceSpan, embed},
    matrix::Matrix,
};

/// Maximum tokens of a batch, unless one text has more: enough to occupy a GPU, with a few hundred
/// megabytes of activations.
const ROWS: usize = 2048;

/// The hidden states that enter the next layer.
pub(crate) struct Calibration<'a> {
    batches: Vec<Batch>,
    /// Positions of the longest text.
    pub(crate) positions: usize,
    /// The next layer.
    layer: usize,
    hidden_size: usize,
    interrupted: &'a dyn Fn() -> bool,
}

/// Texts that are processed together.
struct Batch {
    /// `[rows, hidden_size]`, always in host memory, because many texts would exhaust a GPU's.
    hidden: Vec<f32>,
    /// Texts without the prefix that they share with the previous text. A common system prompt is
    /// processed and counted once: a hundred copies would dominate the statistics.
    spans: Vec<SequenceSpan>,
}

/// The dequantized linear layers of a block, `[inputs, outputs]` f32.
pub(crate) struct Weights {
    pub(crate) qkv_proj: Matrix,
    pub(crate) fc_in: Matrix,
    pub(crate) out_proj: Matrix,
    pub(crate) fc_out: Matrix,
}

impl<'a> Calibration<'a> {
    /// Embeds the samples, the input of layer 0.
    pub(crate) fn embed(
        source: &dyn WeightSource,
        config: &MossConfig,
        samples: &[Sample],
        interrupted: &'a dyn Fn() -> bool,
    ) -> Result<Self, QuantizeError> {
        let (mut batches, mut positions, mut before): (Vec<Batch>, _, &[u32]) = (vec![], 0, &[]);
        for ids in samples
            .iter()
            .flat_map(|sample| sample.ids.chunks(config.context_length))
        {
            let start_pos = ids
                .iter()
                .zip(before)
                .take_while(|(id, before)| id == before)
                .count();
            if start_pos == ids.len() {
                continue;
            }
            before = ids;
            positions = positions.max(ids.len());
            let span = SequenceSpan {
                rows: ids.len() - start_pos,
                start_pos,
            };
            let hidden = embed(source, &ids[start_pos..])?;
            match batches.last_mut() {
                Some(batch) if batch.rows() + span.rows <= ROWS => {
                    batch.hidden.extend(hidden);
                    batch.spans.push(span);
                }
                _ => batches.push(Batch {
                    hidden,
                    spans: vec![span],
                }),
            }
        }
        match batches.is_empty() {
            true => Err(QuantizeError::NoSamples {
                what: TextSet::Calibration,
            }),
            false => {
                let hidden_size = config.hidden_size;
                Ok(Self {
                    batches,
                    positions,
                    layer: 0,
                    hidden_size,
                    interrupted,
                })
            }
        }
    }

    /// Returns the number of tokens, without shared prefixes.
    pub(crate) fn tokens(&self) -> usize {
        self.batches.iter().map(Batch::rows).sum()
    }

    /// Adds the inputs of `qkv_proj` and `fc_in` to their Hessian.
    pub(crate) fn add_normed(
        &self,
        layer: &Layer,
        hessian: &mut Hessian,
    ) -> Result<(), QuantizeError> {
        for batch in &self.batches {
            let h = layer.normed(&self.upload(batch, layer.device())?)?;
            hessian.add(&h).map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Adds the inputs of `out_proj` and of `fc_out`, computed with the quantized `qkv_proj` and
    /// `fc_in`, to their Hessians.
    pub(crate) fn add_branches(
        &self,
        layer: &mut Layer,
        [qkv_proj, fc_in]: [&Matrix; 2],
        [attended, activated]: [&mut Hessian; 2],
    ) -> Result<(), QuantizeError> {
        for batch in &self.batches {
            let h = layer.normed(&self.upload(batch, layer.device())?)?;
            let gathered = layer.attended(&h, qkv_proj, &batch.spans)?;
            attended
                .add(&gathered)
                .map_err(|source| self.failed(source))?;
            let inner = layer.activated(&h, fc_in)?;
            activated
                .add(&inner)
                .map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// Replaces the hidden states by the output of the quantized layer.
    pub(crate) fn advance(
        &mut self,
        layer: &mut Layer,
        weights: &Weights,
    ) -> Result<(), QuantizeError> {
        for at in 0..self.batches.len() {
            let mut x = self.upload(&self.batches[at], layer.device())?;
            let batch = &mut self.batches[at];
            let h = layer.normed(&x)?;
            let attended = layer.attended(&h, &weights.qkv_proj, &batch.spans)?;
            let activated = layer.activated(&h, &weights.fc_in)?;
            layer.add(
                &mut x,
                (&attended, &weights.out_proj),
                (&activated, &weights.fc_out),
            )?;
            let hidden = x.to_host(0..x.rows());
            batch.hidden = hidden.map_err(|source| QuantizeError::Kernel {
                layer: self.layer,
                source,
            })?;
        }
        self.layer += 1;
        Ok(())
    }

    /// Uploads a batch to the device, `[rows, hidden_size]`.
    fn upload(&self, batch: &Batch, device: &Device) -> Result<Matrix, QuantizeError> {
        if (self.interrupted)() {
            return Err(QuantizeError::Interrupted);
        }
        Matrix::new(device, &batch.hidden, self.hidden_size).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: KernelError) -> QuantizeError {
        QuantizeError::Kernel {
            layer: self.layer,
            source,
        }
    }
}

impl Batch {
    fn rows(&self) -> usize {
        self.spans.iter().map(|span| span.rows).sum()
    }
}
