//! Hooks that receive the hidden states of a forward pass.

use candle_core::{DType, Tensor};
use moss_weights::KernelError;

use crate::{ModelError, micro_batch::Plan};

/// Points of the network whose hidden states a hook receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenPoint {
    /// The embeddings.
    Embedding,
    /// The residual stream after block `0..num_layers`.
    Block(usize),
    /// The final norm, for the tokens whose logits are requested.
    FinalNorm,
}

/// A hook that receives `[tokens, hidden_size]` f32 values, row-major.
pub type HiddenTap<'a> = dyn FnMut(HiddenPoint, &[f32]) + 'a;

/// Copies a matrix to the host as f32, row-major.
pub(crate) fn to_host(x: &Tensor) -> Result<Vec<f32>, KernelError> {
    Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// The hidden states of a forward batch, by point, in the order of the micro-batches.
#[derive(Default)]
pub(crate) struct HiddenStates(Vec<(HiddenPoint, Vec<f32>)>);

impl HiddenStates {
    /// Appends the values of a micro-batch.
    pub(crate) fn add(&mut self, point: HiddenPoint, values: &[f32]) {
        match self.0.iter_mut().find(|(known, _)| *known == point) {
            Some((_, all)) => all.extend_from_slice(values),
            None => self.0.push((point, values.to_vec())),
        }
    }

    /// Calls `hook` with the values of each point, in the order of the chunks of `plan`.
    pub(crate) fn show(self, plan: &Plan<'_>, hook: &mut HiddenTap<'_>) {
        for (point, values) in self.0 {
            let only_wanted = point == HiddenPoint::FinalNorm;
            hook(point, &plan.hidden_in_order(&values, only_wanted));
        }
    }
}

/// An optional hook.
pub(crate) struct Hook<'a, 'b>(pub(crate) Option<&'a mut HiddenTap<'b>>);

impl Hook<'_, '_> {
    /// Calls the hook with values in host memory.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) fn show_values(&mut self, point: HiddenPoint, values: &[f32]) {
        if let Some(hook) = &mut self.0 {
            hook(point, values);
        }
    }

    pub(crate) fn show(&mut self, point: HiddenPoint, x: &Tensor) -> Result<(), ModelError> {
        let Some(hook) = &mut self.0 else {
            return Ok(());
        };
        let values = to_host(x).map_err(|source| ModelError::Kernel {
            layer: 0,
            op: "hidden state",
            source,
        })?;
        hook(point, &values);
        Ok(())
    }
}
