//! Errors of measurements and comparisons.

mod zh;

use std::path::PathBuf;

use moss_engine::EngineError;
use moss_model::ModelError;
use moss_sampling::SamplingError;
use moss_unicode::DecodeError;

/// Errors of measuring a model and of comparing it with expected values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The model refused, or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine refused, or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nothing could be drawn.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A median of no measurements.
    #[error("nothing was measured")]
    NothingMeasured,
    /// The model returned no result for a sequence.
    #[error("the model gave no answer")]
    NoAnswer,
    /// The model returned a result without logits.
    #[error("the model gave no logits")]
    NoLogits,
    /// The file of expected values cannot be read.
    #[error("cannot read `{}`", file.display())]
    NoExpectedValues {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file of expected tensors cannot be read.
    #[error("cannot read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not in UTF-8.
    #[error("cannot read `{}`", file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// The encoding found.
        source: DecodeError,
    },
    /// A file is not the JSON of expected values.
    #[error("cannot read `{}`", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A file is no safetensors file.
    #[error("cannot read `{}`", file.display())]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// The parser's error.
        source: safetensors::SafeTensorError,
    },
    /// A tensor of another type than expected values have.
    #[error("tensor `{name}` in `{}` is {found}, expected F32, I32 or I64", file.display())]
    TensorType {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The expected values lack a tensor.
    #[error("the expected values have no tensor `{name}`")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// The expected values refer to a prompt that they lack.
    #[error("the expected values name prompt {index}, which is not there")]
    MissingPrompt {
        /// Its index.
        index: usize,
    },
    /// A tensor with values for another number of positions than its prompt has.
    #[error("tensor `{name}` has {found} positions, expected {expected}")]
    Positions {
        /// The tensor.
        name: String,
        /// Its positions.
        found: usize,
        /// Positions of the prompt.
        expected: usize,
    },
}

impl BenchError {
    /// Returns what the user can do about it, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Sampling(error) => error.hint(),
            Self::NoExpectedValues { .. } => Some(
                "`verify` needs expected.json and expected.safetensors beside the weights, or `--expected DIR`"
                    .into(),
            ),
            _ => None,
        }
    }
}
