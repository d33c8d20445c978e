//! The matrix products of prefill (GEMM) on GPUs without sm_90a code.

use moss_weights::KernelError;

use crate::{
    args::LinearArgs,
    contract::count,
    kernels::Kernel,
    launch::{Call, Geometry},
    linear_args::{OP, PairLaunch},
    weights::Format,
};

/// Outputs of a thread block.
const TILE_OUTPUTS: usize = 128;

/// Launches the product.
pub(crate) fn launch(call: &Call<'_>, pass: &PairLaunch<'_>, n: usize) -> Result<(), KernelError> {
    let [few, many] = match pass.format {
        Format::F16 => [Kernel::GEMM_F16_N64, Kernel::GEMM_F16_N128],
        Format::Int8 => [Kernel::GEMM_INT8_N64, Kernel::GEMM_INT8_N128],
        Format::Int4 => [Kernel::GEMM_INT4_N64, Kernel::GEMM_INT4_N128],
    };
    let (kernel, tokens): (Kernel<LinearArgs>, _) = if n <= 64 { (few, 64) } else { (many, 128) };
    let output_tiles = pass.outputs().map(|outputs| outputs.div_ceil(TILE_OUTPUTS));
    let geometry = Geometry {
        grid: (
            count(OP, "tokens", n.div_ceil(tokens))?,
            count(OP, "tiles", output_tiles.sum())?,
            1,
        ),
        block: 128,
    };
    call.launch(kernel, geometry, &pass.args)
}
