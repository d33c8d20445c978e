//! Copies weights from their source to a GPU.

use std::ops::Range;

use moss_cuda::{
    Buffer, DenseWeight, GptqBits, Gpu, GpuLinear, KernelError, LinearWeight, NormWeights, Read,
    Uploader,
};

use crate::{
    LinearParts, LinearShape, ModelError, MossConfig, WeightFormat, WeightSource, names,
    source::lm_head,
};

/// The embedding, in device or host memory.
#[derive(Debug)]
pub(super) enum EmbeddingTable {
    Device(Box<GpuLinear>),
    Host(DenseWeight),
}

pub(super) struct Loader<'a> {
    pub(super) gpu: &'a Gpu,
    source: &'a dyn WeightSource,
    uploader: Uploader<'a>,
    scratch: Option<Buffer<u8>>,
}

impl<'a> Loader<'a> {
    /// Creates a loader. `read` is the read function of `source`.
    pub(super) fn new(
        gpu: &'a Gpu,
        source: &'a dyn WeightSource,
        read: &'a Read<'a>,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            gpu,
            source,
            uploader: Uploader::new(gpu, read)?,
            scratch: None,
        })
    }

    pub(super) fn linear(
        &mut self,
        layer: usize,
        name: &str,
        shape: LinearShape,
    ) -> Result<GpuLinear, ModelError> {
        let kernel = |source| ModelError::Kernel {
            layer,
            op: "load",
            source,
        };
        if let Some(format) = self.source.synthetic_format() {
            let bits = match format {
                WeightFormat::Gptq(bits) if name != names::LM_HEAD => Some(bits),
                _ => None,
            };
            let bias = shape.has_bias.then(|| vec![0.01; shape.out_features]);
            return self
                .synthetic(layer, name, bits, shape, bias.as_deref())
                .map_err(kernel);
        }
        let parts = self.source.linear(name, shape)?;
        let linear = self
            .place(&parts.weight, parts.bias.as_deref())
            .map_err(kernel)?;
        self.source.release(name);
        Ok(linear)
    }

    pub(super) fn norm(
        &self,
        layer: usize,
        stem: &str,
        config: &MossConfig,
    ) -> Result<NormWeights, ModelError> {
        let vector = |tail: &str| {
            let name = format!("{stem}.{tail}");
            let values = self
                .source
                .vector(&name, config.hidden_size)?
                .ok_or_else(|| self.source.missing(&name))?;
            self.gpu
                .upload(&values)
                .map_err(|source| ModelError::Kernel {
                    layer,
                    op: "load",
                    source,
                })
        };
        Ok(NormWeights {
            weight: vector("weight")?,
            bias: vector("bias")?,
            epsilon: config.layer_norm_epsilon,
        })
    }

    /// Allocates the embedding in host or device memory. Returns the rows that are still to be
    /// copied to the device.
    pub(super) fn embedding(
        &mut self,
        config: &MossConfig,
        on_host: bool,
    ) -> Result<(EmbeddingTable, Option<DenseWeight>), ModelError> {
        let kernel = |source| ModelError::Kernel {
            layer: 0,
            op: "load",
            source,
        };
        let (table, rows) = match self.source.synthetic_format() {
            Some(_) if !on_host => (
                self.synthetic(0, names::EMBEDDING, None, vocabulary(config, false), None),
                None,
            ),
            _ => match self.wte(config)? {
                wte if on_host => return Ok((EmbeddingTable::Host(wte), None)),
                wte => (GpuLinear::for_rows(self.gpu, &wte, None), Some(wte)),
            },
        };
        Ok((
            EmbeddingTable::Device(Box::new(table.map_err(kernel)?)),
            rows,
        ))
    }

    /// Allocates lm_head. Returns the rows that are still to be copied.
    pub(super) fn lm_head(
        &mut self,
        config: &MossConfig,
    ) -> Result<(GpuLinear, Option<DenseWeight>), ModelError> {
        let layer = config.num_layers;
        let kernel = |source| ModelError::Kernel {
            layer,
            op: "load",
            source,
        };
        if self.source.synthetic_format().is_some() {
            return Ok((
                self.linear(layer, names::LM_HEAD, vocabulary(config, true))?,
                None,
            ));
        }
        let LinearParts { weight, bias } = lm_head(self.source, config, &self.wte(config)?)?;
        match weight {
            LinearWeight::Dense(rows) => {
                let linear =
                    GpuLinear::for_rows(self.gpu, &rows, bias.as_deref()).map_err(kernel)?;
                Ok((linear, Some(rows)))
            }
            packed => Ok((self.place(&packed, bias.as_deref()).map_err(kernel)?, None)),
        }
    }

    /// Copies some rows of an embedding or head.
    pub(super) fn rows(
        &mut self,
        to: &GpuLinear,
        from: &DenseWeight,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        to.load_rows(from, rows, &mut self.uploader)
    }

    fn wte(&self, config: &MossConfig) -> Result<DenseWeight, ModelError> {
        let wte = self
            .source
            .matrix(names::EMBEDDING, config.vocab_size, config.hidden_size)?;
        wte.ok_or_else(|| self.source.missing(names::EMBEDDING))
    }

    fn place(
        &mut self,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
    ) -> Result<GpuLinear, KernelError> {
        GpuLinear::load(
            self.gpu,
            weight,
            bias,
            &mut self.uploader,
            &mut self.scratch,
        )
    }

    fn synthetic(
        &self,
        layer: usize,
        name: &str,
        bits: Option<GptqBits>,
        shape: LinearShape,
        bias: Option<&[f32]>,
    ) -> Result<GpuLinear, KernelError> {
        let seed = name.bytes().fold(layer as u32, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        let (inputs, outputs) = (shape.in_features, shape.out_features);
        GpuLinear::random(self.gpu, bits, inputs, outputs, bias, seed)
    }
}

/// Returns the shape of the embedding and the head.
fn vocabulary(config: &MossConfig, has_bias: bool) -> LinearShape {
    LinearShape {
        in_features: config.hidden_size,
        out_features: config.vocab_size,
        has_bias,
    }
}
