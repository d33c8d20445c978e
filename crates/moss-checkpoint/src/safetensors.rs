//! Headers of safetensors files, read by the `safetensors` crate, which checks that the tensors
//! cover the file without gaps and overlaps.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::{CheckpointError, DType, TensorInfo};

/// Returns the tensors of a file, in file order.
pub(crate) fn read_header(bytes: &[u8], file: &Path) -> Result<Vec<TensorInfo>, CheckpointError> {
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|source| CheckpointError::Safetensors {
            file: file.to_owned(),
            source,
        })?;
    let data_start = header as u64 + 8; // eight bytes before the header hold its length
    let mut infos = Vec::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let dtype = dtype(info.dtype).ok_or_else(|| CheckpointError::UnsupportedDtype {
            name: name.clone(),
            file: file.to_owned(),
            found: info.dtype.to_string(),
        })?;
        let info = TensorInfo {
            dtype,
            shape: info.shape.clone(),
            file: file.to_owned(),
            storage_start: data_start + info.data_offsets.0 as u64,
            storage_len: (info.data_offsets.1 - info.data_offsets.0) as u64,
            offset: 0,
            strides: None,
            name,
        };
        info.check_bounds()?;
        infos.push(info);
    }
    Ok(infos)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return None,
    })
}
