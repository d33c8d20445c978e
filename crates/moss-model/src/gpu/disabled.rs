//! A build without CUDA: GPUs are asked for, and there are no kernels.

use std::ops::Range;

use candle_core::Tensor;
use moss_weights::KernelError;

use crate::{
    CardInfo, LoadEvent, ModelError,
    load::Wanted,
    pipeline::Before,
    placement::Card,
    plan::{Answers, Pass},
    tap::Tap,
    timeline::Moment,
};

/// Whether this build has kernels for NVIDIA GPUs.
pub const CUDA: bool = false;

/// Returns whether this machine has a GPU to run on: never, in a build without kernels for GPUs.
///
/// # Errors
/// None in such a build.
pub fn has_gpu() -> Result<bool, ModelError> {
    Ok(false)
}

/// There are none for a build without kernels.
///
/// # Errors
/// [`ModelError::Gpu`], always.
pub fn machine_gpus() -> Result<Vec<Card>, ModelError> {
    Err(ModelError::Gpu(KernelError::NotCompiled { op: "GPU" }))
}

/// Never made.
#[derive(Debug)]
pub(crate) enum OpenGpu {}

impl OpenGpu {
    pub(crate) fn new(_ordinal: usize, _newest_code: Option<u32>) -> Result<Self, ModelError> {
        Err(ModelError::Gpu(KernelError::NotCompiled { op: "GPU" }))
    }

    pub(crate) fn card(&self) -> Card {
        match *self {}
    }
}

/// Never made.
#[derive(Debug)]
pub(crate) enum GpuStage {}

impl GpuStage {
    pub(crate) fn load(
        open: OpenGpu,
        _wanted: Wanted<'_>,
        _progress: &mut dyn FnMut(LoadEvent),
    ) -> Result<Self, ModelError> {
        match open {}
    }

    pub(crate) fn layers(&self) -> Range<usize> {
        match *self {}
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn card(&self) -> Result<CardInfo, ModelError> {
        match *self {}
    }

    pub(crate) fn copy_bandwidth(&self) -> Result<f64, ModelError> {
        match *self {}
    }

    pub(crate) fn upload_bandwidth(&self) -> Result<f64, ModelError> {
        match *self {}
    }

    pub(crate) fn note_next(&mut self, _moments: [Moment; 2]) {
        match *self {}
    }

    pub(crate) fn run(
        &mut self,
        _pass: &Pass<'_, '_>,
        _number: usize,
        _before: Before<'_>,
        _tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        match *self {}
    }

    pub(crate) fn answer(
        &mut self,
        _pass: &Pass<'_, '_>,
        _number: usize,
        _answers: &mut Answers,
        _tap: &mut Tap<'_, '_>,
    ) -> Result<(), ModelError> {
        match *self {}
    }

    pub(crate) fn take_hidden(&mut self, _n: usize) -> Result<Tensor, ModelError> {
        match *self {}
    }

    pub(crate) fn fetch_flag(&mut self) -> Result<(), ModelError> {
        match *self {}
    }

    pub(crate) fn flag(&self) -> Result<Option<(usize, usize, usize, f32)>, ModelError> {
        match *self {}
    }
}
