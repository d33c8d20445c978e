//! Headers of weight files.

use crate::{CheckpointError, TensorInfo, map::MappedFile, read, safetensors, torch_zip};

/// Reads the tensors of a weight file, safetensors or PyTorch by the file's extension.
pub(crate) fn read_header(file: &MappedFile) -> Result<Vec<TensorInfo>, CheckpointError> {
    if let Some(found) = read::lookalike(file.bytes()) {
        return Err(CheckpointError::NotWeights {
            file: file.path().to_owned(),
            found,
        });
    }
    if file.is_safetensors() {
        safetensors::read_header(file.bytes(), file.path())
    } else {
        torch_zip::read_header(file.bytes(), file.path())
    }
}
