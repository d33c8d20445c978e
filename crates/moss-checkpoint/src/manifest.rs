//! Configuration and headers of a checkpoint, before they are compared with each other.

use std::path::{Path, PathBuf};

use crate::{
    CheckpointError, RawConfig, WeightStorage, ZeroPoints, quantization::QuantizationConfig,
    tensor_index::TensorIndex, weight_files::WeightFiles,
};

/// The files of a checkpoint as found.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) config: RawConfig,
    /// The settings of `quantization_config` and `quantize_config.json`.
    pub(crate) quantization: Option<QuantizationConfig>,
    pub(crate) tensors: TensorIndex,
}

impl Manifest {
    /// Reads the configuration files and the headers of the weight files. Configuration files that
    /// contradict each other are an error.
    pub(crate) fn open(
        folder: &Path,
        found: &WeightFiles,
        storage: WeightStorage,
    ) -> Result<Self, CheckpointError> {
        let config = RawConfig::read(folder)?;
        let quantization = QuantizationConfig::merge(
            config.quantization.clone(),
            QuantizationConfig::from_folder(folder)?,
        )?;
        config.check_group_size(&folder.join("config.json"), quantization.as_ref())?;
        let tensors = TensorIndex::open(folder, found, storage)?;
        Ok(Self {
            config,
            quantization,
            tensors,
        })
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.tensors.folder().join("config.json")
    }

    /// Returns the declared convention of zero points, or the default one.
    pub(crate) fn zero_points(&self) -> ZeroPoints {
        self.quantization
            .as_ref()
            .and_then(|declared| declared.zero_points)
            .unwrap_or_default()
    }
}
