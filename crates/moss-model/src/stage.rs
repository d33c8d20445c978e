//! A stage of the pipeline: consecutive layers on one device.

use std::{fmt::Debug, ops::Range};

use candle_core::Tensor;
#[cfg(feature = "cuda")]
use moss_cuda::{Buffer, Gpu};

use crate::{
    DeviceInfo, DeviceSpec, ModelError,
    hook::Hook,
    micro_batch::{BatchOutput, MicroBatch},
    timeline::Moment,
};

/// Consecutive layers with their cache on one device; the embedding too where they are the first,
/// the head where they are the last.
pub(crate) trait Stage: Debug + Send {
    /// Returns its layers.
    fn layers(&self) -> Range<usize>;

    /// Returns the bytes of weights that a token reads.
    fn weight_bytes(&self) -> u64;

    /// Measures the bandwidth of the device's memory, in bytes a second.
    fn memory_bandwidth(&self) -> Result<f64, ModelError>;

    /// Measures the bandwidth from page-locked host memory to the device, in bytes a second; `None`
    /// on the CPU.
    fn upload_bandwidth(&self) -> Result<Option<f64>, ModelError> {
        Ok(None)
    }

    /// Describes the GPU; `None` on the CPU.
    fn device_info(&self) -> Result<Option<DeviceInfo>, ModelError> {
        Ok(None)
    }

    /// Returns true if the stage takes [`StageInput::Device`].
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

    /// Adds the logits of the wanted tokens, or their top-k candidates, to `output`, after
    /// [`Stage::run`].
    fn logits(
        &mut self,
        batch: &MicroBatch<'_, '_>,
        output: &mut BatchOutput,
        hook: &mut Hook<'_, '_>,
    ) -> Result<(), ModelError>;

    /// Enqueues the copy of the report of non-finite values to the host.
    fn fetch_non_finite(&mut self) -> Result<(), ModelError> {
        Ok(())
    }

    /// Returns the first non-finite value, once [`Stage::fetch_non_finite`] is done; waits for it.
    fn non_finite(&self) -> Result<Option<NonFinite>, ModelError> {
        Ok(None)
    }
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
    /// Returns true once the caller wants the run to end.
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    /// Sees the hidden states.
    pub(crate) hook: &'a mut Hook<'b, 'c>,
    /// The times to note, of the start and of the end of the layers' work.
    pub(crate) span: Option<[Moment; 2]>,
}

/// A value that is not finite, as a device reports it.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))] // the CPU checks as it computes
pub(crate) struct NonFinite {
    /// Index of the micro-batch.
    pub(crate) batch: usize,
    /// The layer; the number of layers stands for the head.
    pub(crate) layer: usize,
    /// The row; one of the head is counted among the wanted ones.
    pub(crate) row: usize,
    pub(crate) value: f32,
}
