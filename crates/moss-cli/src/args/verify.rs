//! Flags of `verify`.

use std::path::PathBuf;

use clap::Args;

/// Compare the results of this engine with a folder's expected.json and expected.safetensors
///
/// Prints the largest differences. The exit status is 1 if one exceeds its tolerance. With
/// --rope-precision f16, expected_fp16_rope.* are compared. A file expected.txt next to the weights
/// may name a sibling folder with the values. Greedy paths and sampling are compared with --dtype
/// f32, greedy paths also on GPUs. With --reference, the logits of the native engine are compared
/// with those of the candle reference: at every position of some prompts, and of a few tokens after
/// each.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The checkpoint's folder [with --reference, default: the model of --model or --demo]
    #[arg(required_unless_present = "reference")]
    pub(crate) dir: Option<PathBuf>,
    /// Compare with the candle reference, which copies the weights
    #[arg(long, conflicts_with = "expected")]
    pub(crate) reference: bool,
    /// Folder with the expected values [default: DIR]
    #[arg(long, value_name = "DIR")]
    pub(crate) expected: Option<PathBuf>,
    /// Allowed difference of a logit [default: 1e-4, 1e-3 for quantized weights, twice the
    /// reference's for 16-bit types, 32 times the reference's for 8-bit activations; with
    /// --reference 1e-3, f16 0.2, bf16 0.5, 8-bit activations 1]
    #[arg(long, value_name = "X")]
    pub(crate) tolerance: Option<f32>,
}
