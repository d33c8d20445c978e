//! The matrix products of prefill (GEMM), with their epilogues in the same launch. The order of a
//! token's sums does not depend on the number of tokens.

use moss_weights::{KernelError, Rule};

use crate::{
    buffer::Buffer,
    contract::rule,
    device::Gpu,
    gemm_mma, gemm_sm90,
    gemm_tiles::GemmScratch,
    launch::Call,
    linear_args::{self, OP, PairLaunch},
    linear_scratch::InputOrder,
    operands::{LinearInput, LinearPair, NonFiniteCheck},
    qkv_rope_gelu::QkvRopeGelu,
};

impl Gpu {
    /// Computes [qkv_proj | fc_in] of `n` tokens with the epilogue [`QkvRopeGelu`]. Inputs are in the
    /// order of [`GpuLinear::prompt_order`](crate::GpuLinear::prompt_order).
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn prefill_qkv_fc_in(
        &self,
        pair: &LinearPair,
        x: [LinearInput<'_>; 2],
        n: usize,
        to: &QkvRopeGelu<'_>,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        let call = Call::new(self, OP);
        let passes = linear_args::qkv_fc_in(&call, pair, x, n, to, check)?;
        self.prefill_products(&call, &passes, n, None)
    }

    /// Computes `stream[token] += out_proj attended[token] + fc_out inner[token] + fc_out's bias`
    /// in f32, for `n` tokens, and reports non-finite sums. Inputs are in the order of
    /// [`GpuLinear::prompt_order`](crate::GpuLinear::prompt_order).
    ///
    /// # Errors
    /// As for [`Gpu::prefill_qkv_fc_in`].
    #[allow(clippy::too_many_arguments)] // as Gpu::out_fc_out, with scratch memory
    pub fn prefill_out_fc_out(
        &self,
        pair: &LinearPair,
        attended: LinearInput<'_>,
        inner: LinearInput<'_>,
        n: usize,
        stream: &Buffer<f32>,
        check: NonFiniteCheck<'_>,
        scratch: &GemmScratch,
    ) -> Result<(), KernelError> {
        let call = Call::new(self, OP);
        let passes = linear_args::out_fc_out(&call, pair, [attended, inner], n, stream, check)?;
        self.prefill_products(&call, &passes, n, Some(scratch))
    }

    fn prefill_products<'a>(
        &self,
        call: &Call<'a>,
        passes: &[PairLaunch<'a>],
        n: usize,
        scratch: Option<&'a GemmScratch>,
    ) -> Result<(), KernelError> {
        // The epilogues read and write pairs of outputs.
        for operand in passes.iter().flat_map(|pass| pass.operands).flatten() {
            let outputs = operand.linear.out_features;
            let even = outputs.is_multiple_of(2);
            rule(OP, "out_features", outputs, even, Rule::MultipleOf(2))?;
            let orders = (operand.x.order, operand.linear.prompt_order());
            let is_expected = matches!(
                orders,
                (InputOrder::Columns, InputOrder::Columns)
                    | (InputOrder::PromptFragments, InputOrder::PromptFragments)
            );
            rule(OP, "input order", 0, is_expected, Rule::Exactly(1))?;
        }
        passes.iter().try_for_each(|pass| {
            if self.has_wgmma() {
                gemm_sm90::launch(self, call, pass, n, scratch)
            } else {
                gemm_mma::launch(call, pass, n)
            }
        })
    }
}
