//! A stage of the pipeline: consecutive layers on one device.

use std::{fmt::Debug, ops::Range};

use candle_core::Tensor;
#[cfg(feature = "cuda")]
use moss_cuda::{Buffer, Gpu};

use crate::{
    DeviceInfo, DeviceSpec, LoadOptions, ModelError, MossConfig, WeightSource,
    hook::Hook,
    micro_batch::{BatchOutput, MicroBatch},
    placement,
    stored_blocks::StoredBlocks,
    timeline::Moment,
};

/// Consecutive layers with their KV cache on one device. The first stage also has the embedding, the
/// last the final norm and lm_head.
pub(crate) trait Stage: StoredBlocks + Debug + Send {
    /// Returns its layers.
    fn layers(&self) -> Range<usize>;

    /// Returns the bytes of weights that a token reads.
    fn weight_bytes(&self) -> u64;

    /// Measures the bandwidth of the device's memory, in bytes per second.
    fn memory_bandwidth(&self) -> Result<f64, ModelError>;

    /// Measures the bandwidth from pinned host memory to the device, in bytes per second; `None` on
    /// the CPU.
    fn upload_bandwidth(&self) -> Result<Option<f64>, ModelError> {
        Ok(None)
    }

    /// Describes the GPU; `None` on the CPU.
    fn device_info(&self) -> Result<Option<DeviceInfo>, ModelError> {
        Ok(None)
    }

    /// Returns true if the stage accepts [`StageInput::Device`].
    fn is_gpu(&self) -> bool {
        false
    }

    /// Runs the layers over a micro-batch, or enqueues them on the device.
    fn run(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        input: StageInput<'_>,
        context: &mut RunContext<'_, '_, '_>,
    ) -> Result<(), ModelError>;

    /// Returns the residual stream of the last run, of `tokens` tokens. Waits for the device and
    /// copies to the host unless `on_device`.
    fn output(&mut self, tokens: usize, on_device: bool) -> Result<StageInput<'_>, ModelError>;

    /// Adds the logits of the wanted tokens, or the sampled ones, to `output`, after
    /// [`Stage::run`].
    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError>;

    /// Returns true if the results of `batch` stay on the device until [`Stage::logits`] is called
    /// for it or for a later micro-batch with wanted tokens, also while other micro-batches run.
    fn keeps_results(&self, _batch: &MicroBatch<'_, '_>, _hook: &Hook<'_, '_>) -> bool {
        false
    }

    /// Enqueues the copy of the report of non-finite values to the host.
    fn fetch_non_finite(&mut self) -> Result<(), ModelError> {
        Ok(())
    }

    /// Waits for [`Stage::fetch_non_finite`] and returns the first non-finite value.
    fn non_finite(&self) -> Result<Option<NonFinite>, ModelError> {
        Ok(None)
    }
}

/// The layers of a stage to load, and their source.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) struct StageSpec<'a> {
    pub(crate) source: &'a dyn WeightSource,
    pub(crate) config: &'a MossConfig,
    pub(crate) options: &'a LoadOptions,
    pub(crate) plan: placement::Stage,
    /// Maximum threads that read weights.
    pub(crate) threads: usize,
}

/// A stage with its device.
pub(crate) type PlacedStage = (DeviceSpec, Box<dyn Stage>);

/// The input of a stage.
pub(crate) enum StageInput<'a> {
    /// Token ids, for the stage with the embedding.
    TokenIds(&'a [u32]),
    /// The residual stream in host memory, `[tokens, hidden]` f32.
    Host(Tensor),
    /// The residual stream in the memory of another stage's GPU.
    #[cfg(feature = "cuda")]
    Device {
        gpu: &'a Gpu,
        stream: &'a Buffer<f32>,
    },
}

/// The environment of one run of a stage.
pub(crate) struct RunContext<'a, 'b, 'c> {
    /// Returns true if the caller cancels the run.
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    /// Receives the hidden states.
    pub(crate) hook: &'a mut Hook<'b, 'c>,
    /// Receives the times at which the layers start and end.
    pub(crate) span: Option<[Moment; 2]>,
}

/// A value that is not finite, as a device reports it.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU checks as it computes
pub(crate) struct NonFinite {
    /// Index of the micro-batch.
    pub(crate) batch: usize,
    /// The layer; the number of layers means lm_head.
    pub(crate) layer: usize,
    /// The row; for lm_head, the index among the wanted rows.
    pub(crate) row: usize,
    pub(crate) value: f32,
}
