//! Errors of measurements and comparisons.

use std::path::PathBuf;

use moss_engine::EngineError;
use moss_messages::Message;
use moss_model::ModelError;
use moss_sampling::SamplingError;
use moss_unicode::DecodeError;

/// Errors of measuring a model and of comparing it with expected values.
#[derive(Debug, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum BenchError {
    /// An error of the model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An error of the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An error of sampling.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// A median of no measurements.
    NothingMeasured,
    /// The model returned no result for a sequence.
    NoAnswer,
    /// The model returned a result without logits.
    NoLogits,
    /// The file of expected values cannot be read.
    NoExpectedValues {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file of expected tensors cannot be read.
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not in UTF-8.
    Decode {
        /// The file.
        file: PathBuf,
        /// The encoding found.
        #[message(cause)]
        source: DecodeError,
    },
    /// A file is not the JSON of expected values.
    Json {
        /// The file.
        file: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A file is not in the safetensors format.
    Safetensors {
        /// The file.
        file: PathBuf,
        /// The parser's error.
        source: safetensors::SafeTensorError,
    },
    /// A tensor of a type that expected values do not have.
    TensorType {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The expected values lack a tensor.
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// The expected values refer to a prompt that they lack.
    MissingPrompt {
        /// Its index.
        index: usize,
    },
    /// A tensor with values for another number of positions than its prompt has.
    Positions {
        /// The tensor.
        name: String,
        /// Its positions.
        found: usize,
        /// Positions of the prompt.
        expected: usize,
    },
}
