//! One block in f32, so that a network can be processed layer by layer without loading all of it.
//!
//! Every step takes its weights as an argument, `[in_features, out_features]` f32 on the layer's
//! device, so that the caller can drop them after use.

use moss_cpu::{KernelError, Rule, ops::Embedding};
use moss_cuda::HeadLayout;
use moss_model::{LinearKind, ModelError, MossConfig, WeightSource, names};

use crate::{
    device::Device,
    matrix::{Angles, Matrix, Store},
};

/// Queries whose scores are in memory at a time.
const QUERIES: usize = 512;

/// Consecutive tokens of a batch that belong to one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SequenceSpan {
    /// Tokens.
    pub(crate) rows: usize,
    /// Position of the first token; earlier positions are shared with the previous sequence.
    pub(crate) start_pos: usize,
}

/// One layer without its weight matrices. Sequences run one after the other.
#[derive(Debug)]
pub(crate) struct Layer {
    layer: usize,
    /// Weight and bias, `[1, hidden_size]` each.
    norm: [Matrix; 2],
    epsilon: f64,
    fc_in_bias: Matrix,
    fc_out_bias: Matrix,
    angles: Angles,
    layout: HeadLayout,
    /// Keys and values of the latest sequence, `[heads * positions, head_dim]` each.
    cache: [Matrix; 2],
    /// Maximum positions of a sequence.
    positions: usize,
    /// Positions of the latest sequence.
    cached: usize,
}

/// Looks up the embeddings, the input of layer 0, `[ids, hidden_size]` row-major.
///
/// # Errors
/// [`ModelError::Checkpoint`] if the embedding is missing or has another shape;
/// [`ModelError::Kernel`] for an id outside of the vocabulary.
pub(crate) fn embed(source: &dyn WeightSource, ids: &[u32]) -> Result<Vec<f32>, ModelError> {
    let config = source.config()?;
    let table = source
        .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?
        .ok_or_else(|| source.missing(names::EMBEDDING))?;
    let run = || -> Result<Vec<f32>, KernelError> {
        let rows = Embedding::new(table)?.lookup(ids, &candle_core::Device::Cpu)?;
        Ok(rows
            .to_dtype(candle_core::DType::F32)?
            .flatten_all()?
            .to_vec1()?)
    };
    run().map_err(|source| ModelError::Kernel {
        layer: 0,
        op: "embedding",
        source,
    })
}

impl Layer {
    /// Loads norm and biases of one layer, for sequences of up to `positions`.
    ///
    /// # Errors
    /// As for [`moss_model::Moss::load`].
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: &MossConfig,
        layer: usize,
        positions: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let at = |source| ModelError::Kernel {
            layer,
            op: "load",
            source,
        };
        let vector = |name: String, len| -> Result<Matrix, ModelError> {
            let values = source
                .vector(&name, len)?
                .ok_or_else(|| source.missing(&name))?;
            Matrix::new(device, &values, len).map_err(at)
        };
        let spec = config.block();
        let bias =
            |kind: LinearKind| vector(kind.name(layer) + ".bias", spec.linear(kind).out_features);
        let norm = names::block_norm(layer);
        let cache = || Matrix::zeros(device, spec.num_heads * positions, spec.head_dim).map_err(at);
        Ok(Self {
            layer,
            norm: [
                vector(format!("{norm}.weight"), config.hidden_size)?,
                vector(format!("{norm}.bias"), config.hidden_size)?,
            ],
            epsilon: config.layer_norm_epsilon,
            fc_in_bias: bias(LinearKind::FcIn)?,
            fc_out_bias: bias(LinearKind::FcOut)?,
            angles: Angles::new(device, config.rotary_dim, positions).map_err(at)?,
            layout: spec.head_layout(),
            cache: [cache()?, cache()?],
            positions,
            cached: 0,
        })
    }

    /// Returns the device of the layer's matrices.
    pub(crate) fn device(&self) -> &Device {
        self.fc_in_bias.device()
    }

    /// Computes the input of `qkv_proj` and `fc_in` from the residual stream `x`, both
    /// `[rows, hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`], here and below, for matrices of other shapes, or if the device's
    /// memory is exhausted.
    pub(crate) fn normed(&self, x: &Matrix) -> Result<Matrix, ModelError> {
        let [weight, bias] = &self.norm;
        self.at("layer_norm", x.layer_norm(weight, bias, self.epsilon))
    }

    /// Computes the input of `out_proj`: the attention output for the normed input `h`, both
    /// `[rows, hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`], also for positions beyond those of [`Self::load`], or a `start_pos`
    /// beyond the previous sequence.
    pub(crate) fn attended(
        &mut self,
        h: &Matrix,
        qkv_proj: &Matrix,
        sequences: &[SequenceSpan],
    ) -> Result<Matrix, ModelError> {
        let attended = self.attend(h, qkv_proj, sequences);
        self.at("attention", attended)
    }

    fn attend(
        &mut self,
        h: &Matrix,
        qkv_proj: &Matrix,
        sequences: &[SequenceSpan],
    ) -> Result<Matrix, KernelError> {
        let (heads, positions) = (self.layout.num_heads, self.positions);
        let qkv = Matrix::product(&h.all(), &qkv_proj.all())?;
        let mut attended = Matrix::zeros(self.device(), h.rows(), h.columns())?;
        let mut first = 0;
        for SequenceSpan { rows, start_pos } in sequences.iter().copied() {
            if start_pos > self.cached {
                return Err(start_beyond_cache(start_pos, self.cached));
            }
            let span = first..first + rows;
            let q = qkv.split_heads(span, &self.angles, self.layout, &mut self.cache, start_pos)?;
            self.cached = start_pos + rows;
            let [keys, values] = &self.cache;
            let scale = (keys.columns() as f32).sqrt().recip();
            let mut gathered = Matrix::zeros(q.device(), q.rows(), q.columns())?;
            for from in (0..rows).step_by(QUERIES) {
                let count = QUERIES.min(rows - from);
                let end = start_pos + from + count;
                let mut scores = Matrix::zeros(q.device(), count, end)?;
                for head in 0..heads {
                    let queries = head * rows + from..head * rows + from + count;
                    let visible = head * positions..head * positions + end;
                    let (query, key) = (
                        q.part(queries.clone()),
                        keys.part(visible.clone()).transposed(),
                    );
                    scores.gemm(0..count, scale, &query, &key, Store::Overwrite)?;
                    scores.causal_softmax(start_pos + from)?;
                    gathered.gemm(
                        queries,
                        1.0,
                        &scores.all(),
                        &values.part(visible),
                        Store::Overwrite,
                    )?;
                }
            }
            attended.merge_heads(first, &gathered, heads)?;
            first += rows;
        }
        Ok(attended)
    }

    /// Computes the input of `fc_out`: `gelu(fc_in(h))`, `[rows, inner_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`].
    pub(crate) fn activated(&self, h: &Matrix, fc_in: &Matrix) -> Result<Matrix, ModelError> {
        let run = || {
            let mut inner = Matrix::product(&h.all(), &fc_in.all())?;
            inner.add_bias(&self.fc_in_bias, true)?;
            Ok(inner)
        };
        self.at("fc_in", run())
    }

    /// Adds the output of both branches to the residual stream `x`, `[rows, hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::Kernel`].
    pub(crate) fn add(
        &self,
        x: &mut Matrix,
        (attended, out_proj): (&Matrix, &Matrix),
        (activated, fc_out): (&Matrix, &Matrix),
    ) -> Result<(), ModelError> {
        let mut run = || {
            let rows = x.rows();
            x.gemm(0..rows, 1.0, &attended.all(), &out_proj.all(), Store::Add)?;
            x.gemm(0..rows, 1.0, &activated.all(), &fc_out.all(), Store::Add)?;
            x.add_bias(&self.fc_out_bias, false)
        };
        let added = run();
        self.at("out_proj and fc_out", added)
    }

    fn at<T>(&self, op: &'static str, result: Result<T, KernelError>) -> Result<T, ModelError> {
        result.map_err(|source| ModelError::Kernel {
            layer: self.layer,
            op,
            source,
        })
    }
}

fn start_beyond_cache(start_pos: usize, cached: usize) -> KernelError {
    let rule = Rule::AtMost(cached);
    KernelError::Argument {
        op: "attention",
        arg: "start_pos",
        found: start_pos,
        rule,
    }
}

#[cfg(test)]
#[path = "layer/tests.rs"]
mod tests;
