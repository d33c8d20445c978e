//! The safetensors container: a length, a JSON header with the offset of every tensor, and the
//! bytes.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use crate::{DType, Outline};

/// A file whose header is written.
pub(super) struct SafetensorsFile {
    pub(super) out: BufWriter<File>,
}

impl SafetensorsFile {
    /// Writes the header. Tensors keep the given order, that of the layers. With the published
    /// sizes, every tensor then starts at a multiple of eight bytes.
    pub(super) fn begin(mut out: BufWriter<File>, tensors: &[Outline]) -> io::Result<Self> {
        let mut end = 0;
        let mut infos = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let start = end;
            end += tensor.bytes() as usize;
            let (dtype, shape) = (dtype(tensor.dtype), tensor.shape.clone());
            infos.push((
                tensor.name.clone(),
                TensorInfo {
                    dtype,
                    shape,
                    data_offsets: (start, end),
                },
            ));
        }
        // transformers rejects files that do not state the framework.
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let header = Metadata::new(Some(format), infos).map_err(io::Error::other)?;
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self { out })
    }
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}
