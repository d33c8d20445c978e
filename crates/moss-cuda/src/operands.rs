//! Inputs and weights of linear layers, and the report of non-finite values.

use half::f16;
use moss_weights::KernelError;

use crate::{buffer::Buffer, device::Gpu, linear_scratch::InputOrder, weights::GpuLinear};

/// Two linear layers that run in one launch if their formats are equal.
#[derive(Debug)]
pub struct LinearPair {
    /// qkv_proj or out_proj.
    pub first: GpuLinear,
    /// fc_in or fc_out.
    pub second: GpuLinear,
}

/// The input of a linear layer: `[tokens, stride]`, in the order of the layer's input permutation.
#[derive(Debug, Clone, Copy)]
pub struct LinearInput<'a> {
    /// The values.
    pub values: &'a Buffer<f16>,
    /// Values from one token to the next.
    pub stride: usize,
    /// The order of the columns. It selects the decode kernel, which changes no bit of the result.
    pub order: InputOrder<'a>,
}

/// The destination of reports of non-finite values, and the layer that they name.
#[derive(Debug, Clone, Copy)]
pub struct NonFiniteCheck<'a> {
    /// One word: `u64::MAX`, or `layer << 48 | token << 32 | bits`.
    pub flag: &'a Buffer<u64>,
    /// The layer that runs.
    pub layer: usize,
}

/// The input of fc_out that [`Gpu::qkv_fc_in`] is writing.
#[derive(Debug)]
pub struct FcOutInput<'a>(pub(crate) LinearInput<'a>);

/// An input of fc_out whose values are complete when the next kernel starts, even if it starts
/// before the preceding kernel has finished (programmatic dependent launch).
///
/// [`Gpu::out_fc_out`] reads its second input before `griddepcontrol.wait`, and this type is its
/// precondition. There are two ways to meet it: a launch of attention after the one that writes the
/// values ([`FcOutInput::then_attention`]), or a wait of the host ([`CompleteInput::synchronize`]).
/// It holds until the next kernel that writes the values.
#[derive(Debug)]
pub struct CompleteInput<'a>(LinearInput<'a>);

/// Evidence that attention was launched. Its kernels permit the launch of the next kernel
/// (`griddepcontrol.launch_dependents`) after their own `griddepcontrol.wait`, that is, when all
/// kernels before them are complete.
#[derive(Debug)]
pub struct AttentionLaunch(pub(crate) ());

impl<'a> FcOutInput<'a> {
    /// Launches attention by `attention`. The values are complete when the kernel after it starts.
    ///
    /// # Errors
    /// Those of `attention`.
    pub fn then_attention(
        self,
        attention: impl FnOnce() -> Result<AttentionLaunch, KernelError>,
    ) -> Result<CompleteInput<'a>, KernelError> {
        let AttentionLaunch(()) = attention()?;
        Ok(CompleteInput(self.0))
    }
}

impl<'a> CompleteInput<'a> {
    /// Waits until the stream of `gpu`, which wrote the values, is idle.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn synchronize(gpu: &Gpu, input: LinearInput<'a>) -> Result<Self, KernelError> {
        gpu.id.check("linear", "input", input.values.device)?;
        gpu.synchronize()?;
        Ok(Self(input))
    }

    /// Returns the input.
    pub(crate) fn get(&self) -> LinearInput<'a> {
        self.0
    }
}
