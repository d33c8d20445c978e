//! Type, shape and location of a tensor in its file.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::{
    CheckpointError, DType, Tensor,
    map::{MappedFile, PIECE},
};

/// Type, shape and location of a tensor: enough to list it without reading its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The file that holds it.
    pub file: PathBuf,
    /// Offset of its storage in the file, in bytes.
    pub(crate) storage_start: u64,
    /// Length of its storage, in bytes.
    pub(crate) storage_len: u64,
    /// Offset of its first element in the storage, in elements.
    pub(crate) offset: u64,
    /// Elements from one index to the next, per axis; `None` for row-major order.
    pub(crate) strides: Option<Vec<u64>>,
}

impl TensorInfo {
    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of bytes.
    pub fn bytes(&self) -> u64 {
        self.elements() as u64 * self.dtype.bytes() as u64
    }

    /// Returns the file and the offset of the tensor's storage in it, in bytes. Sorting by it gives
    /// the order of the files.
    pub fn place(&self) -> (&Path, u64) {
        (&self.file, self.storage_start)
    }

    /// Rejects a tensor that extends past its storage, or whose size overflows. After this check,
    /// sums of its offsets do not overflow.
    pub(crate) fn check_bounds(&self) -> Result<(), CheckpointError> {
        let width = self.dtype.bytes() as u64;
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |product, &n| product.checked_mul(n as u64));
        let last = match (&self.strides, elements) {
            (_, Some(0)) => Some(0),
            (None, elements) => elements,
            (Some(strides), Some(_)) => {
                let reach = self
                    .shape
                    .iter()
                    .zip(strides)
                    .try_fold(0u64, |sum, (&n, &stride)| {
                        sum.checked_add((n as u64 - 1).checked_mul(stride)?)
                    });
                reach.and_then(|reach| reach.checked_add(1))
            }
            (Some(_), None) => None,
        };
        let needed = last
            .and_then(|last| last.checked_add(self.offset))
            .and_then(|end| end.checked_mul(width))
            // Gathering a strided tensor writes all its elements, also those that share bytes.
            .filter(|_| {
                elements.is_some_and(|n| n.saturating_mul(width) <= self.storage_len.max(width))
            });
        match needed {
            Some(needed) if needed <= self.storage_len => Ok(()),
            needed => Err(CheckpointError::TensorBounds {
                name: self.name.clone(),
                file: self.file.clone(),
                needed: needed.unwrap_or(u64::MAX),
                found: self.storage_len,
            }),
        }
    }

    /// Passes the tensor's bytes to `piece`, at most [`PIECE`] at a time. Those of a mapped file
    /// are read by system calls, into one buffer.
    pub(crate) fn for_each_piece<E: From<CheckpointError>>(
        &self,
        file: &MappedFile,
        piece: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = self.view(file.bytes()).data;
        let mut buffer = Vec::new();
        for bytes in data.chunks(PIECE) {
            buffer.resize(bytes.len(), 0);
            match file.read(bytes, &mut buffer) {
                Some(Ok(())) => piece(&buffer)?,
                Some(Err(source)) => {
                    return Err(CheckpointError::Read {
                        file: self.file.clone(),
                        source,
                    }
                    .into());
                }
                None => piece(bytes)?, // a gathered copy of a strided tensor
            }
        }
        Ok(())
    }

    /// Returns the tensor, given the bytes of its file: a view, or a copy if it is strided.
    pub(crate) fn view(&self, file: &Bytes) -> Tensor {
        let width = self.dtype.bytes();
        let start = self.storage_start as usize;
        let storage = file.slice(start..start + self.storage_len as usize);
        let first = self.offset as usize * width;
        let data = match &self.strides {
            None => storage.slice(first..first + self.elements() * width),
            Some(strides) => gather(
                &storage.slice(first.min(storage.len())..),
                &self.shape,
                strides,
                width,
            ),
        };
        Tensor {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self.shape.clone(),
            data,
            file: self.file.clone(),
        }
    }
}

/// Copies a strided tensor into row-major order. [`TensorInfo::check_bounds`] has succeeded.
fn gather(storage: &[u8], shape: &[usize], strides: &[u64], width: usize) -> Bytes {
    let elements: usize = shape.iter().product();
    let mut out = Vec::with_capacity(elements * width);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..elements {
        let at: u64 = index
            .iter()
            .zip(strides)
            .map(|(&i, &stride)| i as u64 * stride)
            .sum();
        out.extend_from_slice(&storage[at as usize * width..][..width]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Bytes::from(out)
}
