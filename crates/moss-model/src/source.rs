//! Where weights come from: a checkpoint as published, or random numbers of the same shapes.

use moss_checkpoint::{Checkpoint, CheckpointError, TensorInfo};
use moss_weights::{DenseWeight, LinearParts, LinearShape, LinearWeight};

use crate::{ModelError, MossConfig, WeightFormat, names};

/// Tensors by the checkpoint's names, for [`crate::Moss::load`], which reads from several threads
/// where there are several devices.
pub trait WeightSource: Sync {
    /// Sizes of the network.
    ///
    /// # Errors
    /// [`ModelError::Config`] for a value that no network can have.
    fn config(&self) -> Result<MossConfig, ModelError>;

    /// The linear layer called `name`.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`] when a tensor is missing, of another shape or type, or a scale or
    /// bias is not finite.
    fn linear(&self, name: &str, shape: LinearShape) -> Result<LinearParts, ModelError>;

    /// A dense matrix `[rows, cols]`, or `None` when there is no tensor of that name.
    ///
    /// # Errors
    /// As for [`WeightSource::linear`].
    fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<DenseWeight>, ModelError>;

    /// A vector of `len` finite values, widened, or `None` when there is no tensor of that name.
    ///
    /// # Errors
    /// As for [`WeightSource::linear`].
    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError>;

    /// Reads `part`, bytes of a weight of this source, into `to`, which is as long: what goes to a
    /// card passes through here.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        to.copy_from_slice(part);
        Ok(())
    }

    /// Says that the bytes of the linear layer called `name` will not be read again.
    fn release(&self, name: &str);

    /// Bytes of the tensors whose names begin with `prefix`, as stored; of scales alone where
    /// `scales` says so.
    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64;

    /// The format of weights that are made up, which a device may then make up by itself.
    fn synthetic_format(&self) -> Option<WeightFormat> {
        None
    }

    /// The error for a tensor that the network needs and the source lacks.
    fn missing(&self, name: &str) -> ModelError;
}

impl WeightSource for Checkpoint {
    fn config(&self) -> Result<MossConfig, ModelError> {
        let config = MossConfig::try_from(Checkpoint::config(self))?;
        // Layers that are not there cost nothing but this.
        let last = format!("{}.weight", names::block_norm(config.num_layers - 1));
        match self.contains(&last) {
            true => Ok(config),
            false => Err(self.missing(&last)),
        }
    }

    fn linear(&self, name: &str, shape: LinearShape) -> Result<LinearParts, ModelError> {
        Ok(Checkpoint::linear(self, name, shape)?)
    }

    fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<DenseWeight>, ModelError> {
        if !self.contains(name) {
            return Ok(None);
        }
        Ok(Some(self.tensor(name)?.into_matrix(rows, cols)?))
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        if !self.contains(name) {
            return Ok(None);
        }
        let tensor = self.tensor(name)?;
        tensor.expect_shape(&[len])?;
        tensor.check_finite()?;
        Ok(Some(tensor.to_f32()?))
    }

    fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        Checkpoint::read(self, part, to)
    }

    fn release(&self, name: &str) {
        for tail in ["weight", "qweight", "qzeros", "scales", "g_idx"] {
            Checkpoint::release(self, &format!("{name}.{tail}"));
        }
    }

    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64 {
        // Masks are constants of upstream's code, not weights.
        let counts = |name: &str| {
            name.starts_with(prefix)
                && !name.contains("mask")
                && (!scales || name.ends_with(".scales"))
        };
        let bytes = self
            .tensor_infos()
            .filter(|info| counts(&info.name))
            .map(TensorInfo::bytes);
        bytes.fold(0, u64::saturating_add) // tensors may share a storage
    }

    fn missing(&self, name: &str) -> ModelError {
        CheckpointError::MissingTensor {
            name: name.to_owned(),
            folder: self.folder().to_owned(),
        }
        .into()
    }
}

/// The head: its own matrix, or the embedding's where the two are one; its own bias in both cases,
/// where there is one.
pub(crate) fn lm_head(
    source: &dyn WeightSource,
    config: &MossConfig,
    embedding: &DenseWeight,
) -> Result<LinearParts, ModelError> {
    let (rows, cols) = (config.vocab_size, config.hidden_size);
    let weight = format!("{}.weight", names::LM_HEAD);
    let bias = source.vector(&format!("{}.bias", names::LM_HEAD), rows)?;
    let is_packed = || source.stored_bytes(&format!("{}.qweight", names::LM_HEAD), false) > 0;
    if source.matrix(&weight, rows, cols)?.is_some() || is_packed() {
        let shape = LinearShape {
            in_features: cols,
            out_features: rows,
            has_bias: bias.is_some(),
        };
        return source.linear(names::LM_HEAD, shape);
    }
    match config.tie_word_embeddings {
        true => Ok(LinearParts {
            weight: LinearWeight::Dense(embedding.clone()),
            bias,
        }),
        false => Err(source.missing(&weight)),
    }
}
