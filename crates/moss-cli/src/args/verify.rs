//! Flags of `verify`.

use std::path::PathBuf;

use clap::Args;

/// Compare a folder's expected.json and expected.safetensors with what this engine computes
///
/// Prints the largest differences; exit status 1 when one is out of tolerance. With
/// --rope-precision f16, expected_fp16_rope.* are compared. An expected.txt beside the weights may
/// name the folder beside it that holds the values. Greedy paths and sampling are compared with
/// --dtype f32, greedy paths on GPUs too.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The checkpoint's folder
    pub(crate) dir: PathBuf,
    /// Folder with the expected values, where it is another one
    #[arg(long, value_name = "DIR")]
    pub(crate) expected: Option<PathBuf>,
    /// Allowed difference of a logit [default: 1e-4, 1e-3 for quantised weights, twice the oracle's
    /// own for 16-bit types, 32 times for 8-bit activations]
    #[arg(long, value_name = "X")]
    pub(crate) tolerance: Option<f32>,
    /// Rows from which a pass on a GPU takes the path of many rows, to check either path
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) many_rows_from: Option<usize>,
}
