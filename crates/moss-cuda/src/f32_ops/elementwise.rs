//! LayerNorm, and bias with GELU.

use moss_weights::KernelError;

use super::matrix::{F32Matrix, THREADS, one_thread_per_element};
use crate::{
    args::{AddBiasF32Args, LayerNormF32Args},
    contract::count,
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
};

impl Gpu {
    /// Normalizes each row: `(x - mean) / sqrt(variance + epsilon) * weight + bias`; `weight` and
    /// `bias` are `[1, columns]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::OutOfMemory`].
    pub fn f32_layer_norm(
        &self,
        x: &F32Matrix,
        weight: &F32Matrix,
        bias: &F32Matrix,
        epsilon: f64,
    ) -> Result<F32Matrix, KernelError> {
        const OP: &str = "layer_norm";
        weight.check_row_vector(OP, "weight", x.columns)?;
        bias.check_row_vector(OP, "bias", x.columns)?;
        let result = self.f32_zeros(x.rows, x.columns)?;
        let call = Call::new(self, OP);
        let args = LayerNormF32Args {
            x: x.input(&call, "x")?,
            weight: weight.input(&call, "weight")?,
            bias: bias.input(&call, "bias")?,
            y: result.output(&call, "y")?,
            columns: count(OP, "columns", x.columns)?,
            epsilon: epsilon as f32,
        };
        let geometry = Geometry {
            grid: (count(OP, "rows", x.rows)?, 1, 1),
            block: THREADS as u32,
        };
        call.launch(Kernel::<LayerNormF32Args>::LAYER_NORM, geometry, &args)?;
        Ok(result)
    }

    /// Computes `x += bias` in every row, `bias` being `[1, columns]`, and then GELU (tanh
    /// approximation) if `gelu` is true.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn f32_add_bias(
        &self,
        x: &mut F32Matrix,
        bias: &F32Matrix,
        gelu: bool,
    ) -> Result<(), KernelError> {
        const OP: &str = "add_bias";
        bias.check_row_vector(OP, "bias", x.columns)?;
        let geometry = one_thread_per_element(OP, x.columns, x.rows)?;
        let call = Call::new(self, OP);
        let args = AddBiasF32Args {
            x: x.output(&call, "x")?,
            bias: bias.input(&call, "bias")?,
            columns: count(OP, "columns", x.columns)?,
            gelu: u32::from(gelu),
        };
        call.launch(Kernel::<AddBiasF32Args>::ADD_BIAS, geometry, &args)
    }
}
