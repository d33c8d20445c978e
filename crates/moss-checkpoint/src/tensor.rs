//! Tensors as they lie in files: type, shape, and a view of the bytes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use half::{bf16, f16};

use crate::{CheckpointError, error::DtypeRule, map::MappedFile, write::PIECE};

/// Element types that checkpoints use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    Bool,
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// Where a tensor lies: enough to list it without touching its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The file it lies in.
    pub file: PathBuf,
    /// Byte in the file where its storage begins.
    pub(crate) storage_start: u64,
    /// Bytes of its storage.
    pub(crate) storage_len: u64,
    /// First element within the storage.
    pub(crate) offset: u64,
    /// Elements from one index to the next, per axis; `None` for row-major order.
    pub(crate) strides: Option<Vec<u64>>,
}

impl TensorInfo {
    /// Elements in all.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.elements() as u64 * self.dtype.bytes() as u64
    }

    /// The file and the byte of it where the tensor's storage begins: sorting by it puts tensors
    /// into the order of the files.
    pub fn place(&self) -> (&Path, u64) {
        (&self.file, self.storage_start)
    }

    /// Refuses a tensor that reaches past its storage, or whose size overflows. After this, sums of
    /// its offsets are safe.
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

    /// The tensor's bytes, a piece at a time. Pieces of a mapped file are read by system calls,
    /// into one buffer.
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
                None => piece(bytes)?, // stored strided, and gathered
            }
        }
        Ok(())
    }

    /// The tensor's bytes within those of its file: a view, or a copy where the tensor is strided.
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

/// Copies a strided tensor into row-major order. The bounds have been checked.
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

/// A tensor's bytes, row-major, little-endian, of any alignment. Clones are views of the same
/// bytes.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Name in the checkpoint.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Bytes,
    /// The file they come from.
    pub file: PathBuf,
}

impl Tensor {
    /// Passes a tensor of this shape on.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`] with both shapes.
    pub fn expect_shape(&self, expected: &[usize]) -> Result<&Self, CheckpointError> {
        if self.shape == expected {
            return Ok(self);
        }
        Err(CheckpointError::Shape {
            name: self.name.clone(),
            file: self.file.clone(),
            found: self.shape.clone(),
            expected: expected.to_vec(),
        })
    }

    /// The error for a tensor of the wrong type.
    pub fn wrong_dtype(&self, expected: DtypeRule) -> CheckpointError {
        CheckpointError::Dtype {
            name: self.name.clone(),
            file: self.file.clone(),
            found: self.dtype,
            expected,
        }
    }

    /// Widens f16, bf16 or f32 elements, exactly.
    ///
    /// # Errors
    /// [`CheckpointError::Dtype`] for any other type.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let halves = self.data.chunks_exact(2).map(|b| [b[0], b[1]]);
        Ok(match self.dtype {
            DType::F32 => self
                .data
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            DType::F16 => halves.map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            DType::BF16 => halves.map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            _ => return Err(self.wrong_dtype(DtypeRule::Float)),
        })
    }

    /// Elements of an i32 or i64 tensor; the latter must fit.
    ///
    /// # Errors
    /// [`CheckpointError::Dtype`] for any other type, or an i64 that does not fit.
    pub fn to_i32(&self) -> Result<Vec<i32>, CheckpointError> {
        match self.dtype {
            DType::I32 => Ok(self
                .data
                .chunks_exact(4)
                .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()),
            DType::I64 => {
                let wide = self.data.chunks_exact(8).map(|b| {
                    let word = [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]];
                    i32::try_from(i64::from_le_bytes(word)).ok()
                });
                wide.collect::<Option<_>>()
                    .ok_or_else(|| self.wrong_dtype(DtypeRule::I32Range))
            }
            _ => Err(self.wrong_dtype(DtypeRule::I32)),
        }
    }

    /// Passes a tensor without inf and NaN.
    ///
    /// # Errors
    /// [`CheckpointError::NonFinite`] naming the first such element; [`CheckpointError::Dtype`] if
    /// it holds no floats.
    pub fn check_finite(&self) -> Result<&Self, CheckpointError> {
        match self
            .to_f32()?
            .iter()
            .enumerate()
            .find(|(_, value)| !value.is_finite())
        {
            None => Ok(self),
            Some((at, &value)) => Err(CheckpointError::NonFinite {
                name: self.name.clone(),
                file: self.file.clone(),
                at,
                value,
            }),
        }
    }

    /// The file this tensor comes from.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
