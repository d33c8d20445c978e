//! Tensors as they are stored: type, shape, and a view of the bytes.

use std::path::PathBuf;

use bytes::Bytes;
use moss_weights::{DenseDtype, DenseWeight};

use crate::{CheckpointError, DType, error::DtypeRule};

/// The elements of a tensor, row-major, little-endian, of any alignment. Clones are views of the
/// same bytes.
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
    /// The file that holds them.
    pub file: PathBuf,
}

impl Tensor {
    /// Returns the tensor if it has this shape.
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

    /// Returns the error for a tensor of the wrong type.
    pub fn wrong_dtype(&self, expected: DtypeRule) -> CheckpointError {
        CheckpointError::Dtype {
            name: self.name.clone(),
            file: self.file.clone(),
            found: self.dtype,
            expected,
        }
    }

    /// Returns the type of f16, bf16 or f32 elements.
    ///
    /// # Errors
    /// [`CheckpointError::Dtype`] for any other type.
    pub fn dense_dtype(&self) -> Result<DenseDtype, CheckpointError> {
        self.dtype
            .dense()
            .ok_or_else(|| self.wrong_dtype(DtypeRule::Float))
    }

    /// Returns the tensor as a matrix `[out_features, in_features]` of f16, bf16 or f32, without a
    /// copy.
    ///
    /// # Errors
    /// [`CheckpointError::Shape`] and [`CheckpointError::Dtype`].
    pub fn into_matrix(
        self,
        out_features: usize,
        in_features: usize,
    ) -> Result<DenseWeight, CheckpointError> {
        self.expect_shape(&[out_features, in_features])?;
        Ok(DenseWeight {
            dtype: self.dense_dtype()?,
            out_features,
            in_features,
            data: self.data,
        })
    }

    /// Widens f16, bf16 or f32 elements, exactly.
    ///
    /// # Errors
    /// [`CheckpointError::Dtype`] for any other type.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        let dtype = self.dense_dtype()?;
        let mut wide = vec![0.0; self.data.len() / dtype.bytes()];
        dtype.widen(&self.data, &mut wide);
        Ok(wide)
    }

    /// Returns the elements of an i32 or i64 tensor.
    ///
    /// # Errors
    /// [`CheckpointError::Dtype`] for any other type, and for an i64 outside the range of i32.
    pub fn to_i32(&self) -> Result<Vec<i32>, CheckpointError> {
        match self.dtype {
            DType::I32 => {
                let (words, _) = self.data.as_chunks::<4>();
                Ok(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
            }
            DType::I64 => {
                let (words, _) = self.data.as_chunks::<8>();
                words
                    .iter()
                    .map(|word| i32::try_from(i64::from_le_bytes(*word)).ok())
                    .collect::<Option<_>>()
                    .ok_or_else(|| self.wrong_dtype(DtypeRule::I32Range))
            }
            _ => Err(self.wrong_dtype(DtypeRule::I32)),
        }
    }

    /// Returns the tensor if all of its elements are finite.
    ///
    /// # Errors
    /// [`CheckpointError::NonFinite`] naming the first inf or NaN; [`CheckpointError::Dtype`] if
    /// the elements are not f16, bf16 or f32.
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
}
