//! Sources of weights: a published checkpoint, or synthetic weights of the same shapes.

use moss_checkpoint::{Checkpoint, CheckpointError, TensorInfo};
use moss_weights::{DenseWeight, LinearParts, LinearShape, LinearWeight};

use crate::{ModelError, MossConfig, WeightFormat, names};

/// Access to tensors by name, for [`crate::Moss::load`], which reads from several threads.
pub trait WeightSource: Sync {
    /// Returns the sizes of the network.
    ///
    /// # Errors
    /// [`ModelError::Config`] for an invalid value.
    fn config(&self) -> Result<MossConfig, ModelError>;

    /// Returns the linear layer `name`.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`] if a tensor is missing or has another shape or type, or a scale or
    /// bias is not finite.
    fn linear(&self, name: &str, shape: LinearShape) -> Result<LinearParts, ModelError>;

    /// Returns a dense matrix `[rows, cols]`, or `None` if the tensor does not exist.
    ///
    /// # Errors
    /// As for [`WeightSource::linear`].
    fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<DenseWeight>, ModelError>;

    /// Returns a vector of `len` finite values in f32, or `None` if the tensor does not exist.
    ///
    /// # Errors
    /// As for [`WeightSource::linear`].
    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError>;

    /// Copies `part`, bytes of a weight of this source, into `to`, which has the same length. Loading
    /// to a GPU reads weights with this method.
    ///
    /// # Errors
    /// Errors of the file system.
    fn read(&self, part: &[u8], to: &mut [u8]) -> std::io::Result<()> {
        to.copy_from_slice(part);
        Ok(())
    }

    /// Releases the mapped pages of the linear layer `name`, which will not be read again.
    fn release(&self, name: &str);

    /// Returns the stored bytes of the tensors whose names begin with `prefix`; only those of scales
    /// if `scales`.
    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64;

    /// Returns the format of synthetic weights, which a device may generate itself.
    fn synthetic_format(&self) -> Option<WeightFormat> {
        None
    }

    /// Returns the error for a missing tensor.
    fn missing(&self, name: &str) -> ModelError;
}

impl WeightSource for Checkpoint {
    fn config(&self) -> Result<MossConfig, ModelError> {
        let config = MossConfig::try_from(Checkpoint::config(self))?;
        // A wrong number of layers is detected by the last one.
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
        // Masks are constants of the published code, not weights.
        let counts = |name: &str| {
            name.starts_with(prefix)
                && !name.contains("mask")
                && (!scales || name.ends_with(".scales"))
        };
        let bytes = self
            .tensor_infos()
            .filter(|info| counts(&info.name))
            .map(TensorInfo::bytes);
        bytes.fold(0, u64::saturating_add) // tensors may share storage, so sums may exceed the file
    }

    fn missing(&self, name: &str) -> ModelError {
        CheckpointError::MissingTensor {
            name: name.to_owned(),
            folder: self.folder().to_owned(),
        }
        .into()
    }
}

/// Returns lm_head: a separate matrix, or the embedding if they are tied, with the optional bias.
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
