//! Weights of a [`WeightSource`] as candle modules: a backend for [`VarBuilder`], and linear layers.

use std::sync::Mutex;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use moss_cpu::{KernelError, ops::PackedWeight};
use moss_weights::{DenseDtype, DenseWeight, LinearWeight};

use crate::{LinearParts, ModelError, WeightSource};

/// The tensors of a source. Keeps the source's error, of which candle would keep the text only.
pub(super) struct Weights<'a> {
    pub(super) source: &'a dyn WeightSource,
    error: Mutex<Option<ModelError>>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(source: &'a dyn WeightSource) -> Self {
        let error = Mutex::new(None);
        Self { source, error }
    }

    /// Returns a builder of modules on `device`.
    pub(super) fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Backend(self)), dtype, device.clone())
    }

    /// Returns the error behind one of candle: the source's, or that of operation `op`.
    pub(super) fn error(
        &self,
        layer: usize,
        op: &'static str,
    ) -> impl Fn(candle_core::Error) -> ModelError {
        move |error| {
            let kept = self.error.lock().ok().and_then(|mut kept| kept.take());
            let source = error.into();
            kept.unwrap_or(ModelError::Kernel { layer, op, source })
        }
    }

    fn tensor(&self, shape: &[usize], name: &str) -> Result<Option<Tensor>, ModelError> {
        let tensor = match *shape {
            [len] => self
                .source
                .vector(name, len)?
                .map(|values| Tensor::from_vec(values, len, &Device::Cpu)),
            [rows, cols] => self.source.matrix(name, rows, cols)?.as_ref().map(dense),
            _ => None,
        };
        let kernel = |source: candle_core::Error| ModelError::Kernel {
            layer: 0,
            op: "load",
            source: source.into(),
        };
        tensor.transpose().map_err(kernel)
    }
}

struct Backend<'a>(&'a Weights<'a>);

impl SimpleBackend for Backend<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let found = self.0.tensor(shape.dims(), name);
        let found = found.and_then(|found| found.ok_or_else(|| self.0.source.missing(name)));
        match found {
            Ok(tensor) => tensor.to_dtype(dtype)?.to_device(device),
            Err(error) => {
                let text = error.to_string();
                if let Ok(mut kept) = self.0.error.lock() {
                    *kept = Some(error);
                }
                candle_core::bail!("{text}")
            }
        }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of `{name}` is not given")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.source.stored_bytes(name, false) > 0
    }
}

/// A linear layer, dense or GPTQ-packed.
#[derive(Debug)]
pub(super) enum Linear {
    Dense(candle_nn::Linear),
    /// Packed weights stay packed and on the CPU.
    Packed {
        weight: PackedWeight,
        bias: Option<Tensor>,
        dtype: DType,
    },
}

impl Linear {
    /// Copies a layer to `device`, in `dtype`. The dequantization has no kernel for other devices
    /// than the CPU: elsewhere the layer is kept dequantized.
    pub(super) fn load(
        parts: LinearParts,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, KernelError> {
        let vector = |bias: Vec<f32>| Tensor::new(bias, device)?.to_dtype(dtype);
        let bias = parts.bias.map(vector).transpose()?;
        match parts.weight {
            LinearWeight::Dense(weight) => {
                let weight = dense(&weight)?.to_dtype(dtype)?.to_device(device)?;
                Ok(Self::Dense(candle_nn::Linear::new(weight, bias)))
            }
            LinearWeight::Gptq(weight) => {
                let weight = PackedWeight::new(&weight)?;
                let packed = Self::Packed {
                    weight,
                    bias,
                    dtype,
                };
                Ok(if device.is_cpu() {
                    packed
                } else {
                    Self::Dense(packed.dequantized(device)?)
                })
            }
        }
    }

    /// Returns the layer with its weights in the data type of the computation.
    pub(super) fn dequantized(&self, device: &Device) -> Result<candle_nn::Linear, KernelError> {
        match self {
            Self::Dense(linear) => Ok(linear.clone()),
            Self::Packed {
                weight,
                bias,
                dtype,
            } => {
                let weight = weight.dequantize()?.to_dtype(*dtype)?.to_device(device)?;
                // The module takes [out_features, in_features], here a view.
                Ok(candle_nn::Linear::new(weight.t()?, bias.clone()))
            }
        }
    }
}

/// Copies a matrix, as it is stored.
fn dense(weight: &DenseWeight) -> candle_core::Result<Tensor> {
    let dtype = match weight.dtype {
        DenseDtype::F32 => DType::F32,
        DenseDtype::F16 => DType::F16,
        DenseDtype::BF16 => DType::BF16,
    };
    let shape = [weight.out_features, weight.in_features];
    Tensor::from_raw_buffer(&weight.data, dtype, &shape, &Device::Cpu)
}
