//! Hooks that see the hidden states of a forward pass.

use candle_core::{DType, Tensor};
use moss_weights::KernelError;

use crate::ModelError;

/// Points of the network that a hook can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenPoint {
    /// The embedding rows.
    Embedding,
    /// The residual stream after block `0..num_layers`.
    Block(usize),
    /// The final norm, for the rows whose logits were asked for.
    FinalNorm,
}

/// Sees `[rows, hidden_size]` f32 values of a forward pass, row-major.
pub type HiddenTap<'a> = dyn FnMut(HiddenPoint, &[f32]) + 'a;

/// `[rows, n]` values in f32 on the host, row-major.
pub(crate) fn to_host(x: &Tensor) -> Result<Vec<f32>, KernelError> {
    Ok(x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// A hook that may be absent.
pub(crate) struct Hook<'a, 'b>(pub(crate) Option<&'a mut HiddenTap<'b>>);

impl Hook<'_, '_> {
    /// Shows values that are on the host already.
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
