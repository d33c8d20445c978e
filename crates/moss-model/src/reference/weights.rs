//! Weights of a [`WeightSource`] as candle modules: a backend for [`VarBuilder`], and linear layers.

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::{Init, LayerNorm, VarBuilder, var_builder::SimpleBackend};
use moss_cpu::{KernelError, ops::PackedWeight};
use moss_weights::{DenseDtype, DenseWeight, LinearWeight};

use crate::{LinearParts, ModelError, MossConfig, WeightSource};

/// The tensors of a source, for a [`VarBuilder`].
pub(super) struct Backend<'a>(pub(super) &'a dyn WeightSource);

impl<'a> Backend<'a> {
    /// Returns a builder of modules on `device`.
    pub(super) fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'a> {
        VarBuilder::from_backend(Box::new(Self(self.0)), dtype, device.clone())
    }

    /// Returns a norm, which computes in f32.
    pub(super) fn norm(&self, name: &str, of: &MossConfig, device: &Device) -> Result<LayerNorm> {
        let builder = self.builder(DType::F32, device).pp(name);
        candle_nn::layer_norm(of.hidden_size, of.layer_norm_epsilon, builder)
    }
}

impl SimpleBackend for Backend<'_> {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, on: &Device) -> Result<Tensor> {
        let tensor = match *shape.dims() {
            [len] => self
                .0
                .vector(name, len)
                .map_err(wrap)?
                .map(Tensor::try_from),
            [rows, cols] => {
                let matrix = self.0.matrix(name, rows, cols).map_err(wrap)?;
                matrix.as_ref().map(dense)
            }
            _ => None,
        };
        let tensor = tensor.ok_or_else(|| wrap(self.0.missing(name)))??;
        tensor.to_dtype(dtype)?.to_device(on)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("the shape of `{name}` is not given")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.stored_bytes(name, false) > 0
    }
}

/// Wraps an error of a source, which [`within`] returns again.
pub(super) fn wrap(error: ModelError) -> Error {
    let (wrapped, context) = (error.into(), String::new());
    Error::WrappedContext { wrapped, context }
}

/// Runs operation `op` of a layer, which an error names unless it is one of the source.
pub(super) fn within<T>(
    layer: usize,
    op: &'static str,
    run: impl FnOnce() -> std::result::Result<T, KernelError>,
) -> std::result::Result<T, ModelError> {
    run().map_err(|source| match source {
        KernelError::Tensor(Error::WrappedContext { wrapped, context }) => {
            wrapped.downcast().map_or_else(
                |wrapped| {
                    let source = Error::WrappedContext { wrapped, context }.into();
                    ModelError::Kernel { layer, op, source }
                },
                |error| *error,
            )
        }
        source => ModelError::Kernel { layer, op, source },
    })
}

/// A linear layer, dense or GPTQ-packed.
#[derive(Debug)]
pub(super) enum Linear {
    Dense(candle_nn::Linear),
    /// Packed weights stay packed and on the CPU. With the bias and the type of the computation.
    Packed(PackedWeight, Option<Tensor>, DType),
}

impl Linear {
    /// Copies a layer to `device`, in `dtype`. The dequantization has no kernel for other devices
    /// than the CPU: elsewhere the layer is kept dequantized.
    pub(super) fn load(
        parts: LinearParts,
        dtype: DType,
        device: &Device,
    ) -> std::result::Result<Self, KernelError> {
        let vector = |bias: Vec<f32>| Tensor::new(bias, device)?.to_dtype(dtype);
        let bias = parts.bias.map(vector).transpose()?;
        let packed = match parts.weight {
            LinearWeight::Dense(weight) => {
                let weight = dense(&weight)?.to_dtype(dtype)?.to_device(device)?;
                return Ok(Self::Dense(candle_nn::Linear::new(weight, bias)));
            }
            LinearWeight::Gptq(weight) => Self::Packed(PackedWeight::new(&weight)?, bias, dtype),
        };
        match device {
            Device::Cpu => Ok(packed),
            _ => Ok(Self::Dense(packed.dequantized(device)?)),
        }
    }

    /// Returns the layer with its weights in the data type of the computation.
    pub(super) fn dequantized(
        &self,
        device: &Device,
    ) -> std::result::Result<candle_nn::Linear, KernelError> {
        match self {
            Self::Dense(linear) => Ok(linear.clone()),
            Self::Packed(weight, bias, dtype) => {
                let weight = weight.dequantize()?.to_dtype(*dtype)?.to_device(device)?;
                // The module takes [out_features, in_features], here a view.
                Ok(candle_nn::Linear::new(weight.t()?, bias.clone()))
            }
        }
    }
}

/// Copies a matrix, as it is stored.
fn dense(weight: &DenseWeight) -> Result<Tensor> {
    let dtype = match weight.dtype {
        DenseDtype::F32 => DType::F32,
        DenseDtype::F16 => DType::F16,
        DenseDtype::BF16 => DType::BF16,
    };
    let shape = [weight.out_features, weight.in_features];
    Tensor::from_raw_buffer(&weight.data, dtype, &shape, &Device::Cpu)
}
