//! Quantization of one layer: its four linear layers, in the order of their dependencies.

use std::collections::HashMap;

use moss_checkpoint::Checkpoint;
use moss_model::{LinearKind, LinearShape, ModelError, MossConfig};
use moss_weights::KernelError;

use crate::{
    LinearReport, Method, QuantizeError, QuantizeOptions,
    calibration::{Calibration, Weights},
    device::Device,
    factor::Factor,
    gptq::{gptq, nearest},
    hessian::Hessian,
    layer::Layer,
    matrix::Matrix,
    pack::Quantized,
    round::Layout,
};

/// Maximum columns of a panel of the Hessian, unless one block has more.
const PANEL: usize = 1024;

/// The inputs of the quantization that all layers share.
pub(crate) struct Job<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) config: &'a MossConfig,
    pub(crate) options: &'a QuantizeOptions,
    pub(crate) device: Device,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
}

/// The quantization of one layer.
pub(crate) struct LayerWork<'a> {
    job: &'a Job<'a>,
    layer: usize,
    report: &'a mut dyn FnMut(LinearReport),
    /// Quantized linear layers by name.
    made: HashMap<String, Quantized>,
}

impl<'a> LayerWork<'a> {
    pub(crate) fn new(
        job: &'a Job<'a>,
        layer: usize,
        report: &'a mut dyn FnMut(LinearReport),
    ) -> Self {
        Self {
            job,
            layer,
            report,
            made: HashMap::new(),
        }
    }

    /// Quantizes the four linear layers, returns them by name, and advances the calibration to the
    /// next layer.
    pub(crate) fn run(
        mut self,
        calibration: Option<&mut Calibration<'_>>,
    ) -> Result<HashMap<String, Quantized>, QuantizeError> {
        match calibration {
            None => LinearKind::ALL
                .into_iter()
                .try_for_each(|kind| self.nearest(kind))?,
            Some(calibration) => self
                .gptq(calibration)
                .map_err(|error| self.with_memory(error))?,
        }
        Ok(self.made)
    }

    fn nearest(&mut self, kind: LinearKind) -> Result<(), QuantizeError> {
        let (weight, layout) = (self.weight(kind)?, self.layout(kind));
        let made = nearest(weight, self.shape(kind).in_features, layout);
        let made = made.ok_or_else(|| QuantizeError::TooWide {
            linear: kind.name(self.layer),
        })?;
        self.note(kind, made);
        Ok(())
    }

    /// Quantizes by GPTQ. Linear layers with the same input share its Hessian.
    fn gptq(&mut self, calibration: &mut Calibration<'_>) -> Result<(), QuantizeError> {
        use LinearKind::{FcIn, FcOut, OutProj, QkvProj};
        let device = &self.job.device;
        let mut layer = Layer::load(
            self.job.checkpoint,
            self.job.config,
            self.layer,
            calibration.positions,
            device,
        )?;
        let tokens = calibration.tokens();
        let mut normed = self.hessian(QkvProj, tokens)?;
        calibration.add_normed(&layer, &mut normed)?;
        let factor = self.factor(QkvProj, normed)?;
        let qkv_proj = self.rounded(QkvProj, &factor)?;
        let fc_in = self.rounded(FcIn, &factor)?;
        drop(factor);
        let [mut attended, mut activated] =
            [self.hessian(OutProj, tokens)?, self.hessian(FcOut, tokens)?];
        calibration.add_branches(
            &mut layer,
            [&qkv_proj, &fc_in],
            [&mut attended, &mut activated],
        )?;
        let factor = self.factor(OutProj, attended)?;
        let out_proj = self.rounded(OutProj, &factor)?;
        let factor = self.factor(FcOut, activated)?;
        let fc_out = self.rounded(FcOut, &factor)?;
        drop(factor);
        if self.layer + 1 < self.job.config.num_layers {
            calibration.advance(
                &mut layer,
                &Weights {
                    qkv_proj,
                    fc_in,
                    out_proj,
                    fc_out,
                },
            )?;
        }
        Ok(())
    }

    fn hessian(&self, kind: LinearKind, tokens: usize) -> Result<Hessian, QuantizeError> {
        let inputs = self.shape(kind).in_features;
        let block = self.layout(kind).block(inputs);
        let width = (PANEL / block).max(1) * block; // panels contain whole blocks
        Hessian::new(inputs, width, tokens, &self.job.device).map_err(|source| self.failed(source))
    }

    fn factor(&self, kind: LinearKind, hessian: Hessian) -> Result<Factor, QuantizeError> {
        let (act_order, dampening) = match self.job.options.method {
            Method::Gptq {
                act_order,
                dampening,
                ..
            } => (act_order, dampening),
            Method::Nearest => (false, 0.0),
        };
        let refused = || QuantizeError::NotPositive {
            linear: kind.name(self.layer),
            dampening,
        };
        let factor =
            Factor::new(hessian, act_order, dampening).map_err(|source| self.failed(source))?;
        factor.ok_or_else(refused)
    }

    /// Rounds a linear layer and returns its dequantized weights, `[inputs, outputs]`.
    fn rounded(&mut self, kind: LinearKind, factor: &Factor) -> Result<Matrix, QuantizeError> {
        let (weight, layout) = (self.weight(kind)?, self.layout(kind));
        let rounded = gptq(weight, factor, layout).map_err(|source| self.failed(source))?;
        let (made, weight) = rounded.ok_or_else(|| QuantizeError::TooWide {
            linear: kind.name(self.layer),
        })?;
        self.note(kind, made);
        Ok(weight)
    }

    fn note(&mut self, kind: LinearKind, made: Quantized) {
        let linear = kind.name(self.layer);
        let (weight_error, output_error) = (made.weight_error, made.output_error);
        self.made.insert(linear.clone(), made);
        (self.report)(LinearReport {
            linear,
            weight_error,
            output_error,
        });
    }

    /// Reads the original weights, `[outputs, inputs]` row-major.
    fn weight(&self, kind: LinearKind) -> Result<Vec<f32>, QuantizeError> {
        if (self.job.interrupted)() {
            return Err(QuantizeError::Interrupted);
        }
        let shape = self.shape(kind);
        let weight = self
            .job
            .checkpoint
            .tensor(&(kind.name(self.layer) + ".weight"))?;
        let wide = weight
            .expect_shape(&[shape.out_features, shape.in_features])?
            .to_f32()?;
        self.job.checkpoint.release(&weight.name);
        Ok(wide)
    }

    fn shape(&self, kind: LinearKind) -> LinearShape {
        self.job.config.block().linear(kind)
    }

    fn layout(&self, kind: LinearKind) -> Layout {
        let inputs = self.shape(kind).in_features;
        let group_size = self
            .job
            .options
            .group_size
            .map_or(inputs, |size| size.min(inputs));
        Layout {
            bits: self.job.options.bits.bits() as u32,
            group_size,
        }
    }

    fn failed(&self, source: KernelError) -> QuantizeError {
        QuantizeError::Kernel {
            layer: self.layer,
            source,
        }
    }

    /// Replaces `error` by [`QuantizeError::OutOfMemory`] if the GPU's memory is exhausted.
    fn with_memory(&self, error: QuantizeError) -> QuantizeError {
        let full = match &error {
            QuantizeError::Kernel { source, .. }
            | QuantizeError::Model(ModelError::Kernel { source, .. }) => {
                self.job.device.out_of_memory(source)
            }
            _ => None,
        };
        match full {
            None => error,
            Some((free, total)) => QuantizeError::OutOfMemory {
                layer: self.layer,
                device: self.job.options.device,
                free,
                total,
            },
        }
    }
}
