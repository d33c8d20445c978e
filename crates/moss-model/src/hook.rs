//! Hooks that receive the hidden states of a forward pass.

use candle_core::{DType, Tensor};
use moss_weights::KernelError;

use crate::ModelError;

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
