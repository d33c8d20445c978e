//! The expected values of a folder.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use moss_files::{MAX_BYTES, read_bytes};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::BenchError;

/// Maximum size of a file of expected tensors, which is read into memory.
const MAX_TENSOR_BYTES: u64 = 1 << 30;

/// The prompts and settings of expected.json.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) prompts: Vec<Prompt>,
    #[serde(default)]
    pub(super) greedy: Vec<Greedy>,
    #[serde(default)]
    pub(super) sampling: Vec<Sampling>,
    pub(super) hidden_prompt: Option<usize>,
    pub(super) max_abs_logit_diff_of_fp16_run: Option<f32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Prompt {
    pub(super) ids: Vec<u32>,
    pub(super) logit_rows: Vec<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Greedy {
    pub(super) prompt: usize,
    pub(super) repetition_penalty: f32,
    pub(super) tokens: Vec<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sampling {
    pub(super) prompt: usize,
    pub(super) generated: usize,
    pub(super) repetition_penalty: f32,
    pub(super) temperature: f32,
    pub(super) top_k: Option<usize>,
    pub(super) top_p: f32,
    pub(super) kept: Vec<(u32, f32)>,
}

/// Values by tensor name.
pub(super) type Floats = HashMap<String, Vec<f32>>;
/// Token ids by tensor name.
pub(super) type Ids = HashMap<String, Vec<usize>>;

/// Returns the folder with the expected values: `folder`, or its sibling that is named in its
/// expected.txt.
pub fn values_of(folder: &Path, stem: &str) -> PathBuf {
    let has_values = |folder: &PathBuf| folder.join(format!("{stem}.json")).is_file();
    let note = read_bytes(&folder.join("expected.txt"), MAX_BYTES).unwrap_or_default();
    let note = moss_unicode::decode(&note).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut names = note
        .split(|c| !is_name(c))
        .filter(|word| !word.trim_matches('.').is_empty());
    let own = folder.to_owned();
    if has_values(&own) {
        return own;
    }
    names
        .find_map(|name| Some(folder.join("..").join(name)).filter(has_values))
        .unwrap_or(own)
}

pub(super) fn read_json(folder: &Path, stem: &str) -> Result<Listed, BenchError> {
    let file = folder.join(format!("{stem}.json"));
    let bytes = match read_bytes(&file, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(source) => return Err(BenchError::NoExpectedValues { file, source }),
    };
    let text = match moss_unicode::decode(&bytes) {
        Ok(text) => text,
        Err(source) => return Err(BenchError::Decode { file, source }),
    };
    serde_json::from_str(text).map_err(|source| BenchError::Json { file, source })
}

pub(super) fn read_tensors(folder: &Path, stem: &str) -> Result<(Floats, Ids), BenchError> {
    let file = folder.join(format!("{stem}.safetensors"));
    let bytes = match read_bytes(&file, MAX_TENSOR_BYTES) {
        Ok(bytes) => bytes,
        Err(source) => return Err(BenchError::Read { file, source }),
    };
    let tensors = match SafeTensors::deserialize(&bytes) {
        Ok(tensors) => tensors,
        Err(source) => return Err(BenchError::Safetensors { file, source }),
    };
    let (mut floats, mut ids) = (Floats::new(), Ids::new());
    for (name, view) in tensors.tensors() {
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => {
                let (values, _) = data.as_chunks();
                floats.insert(
                    name,
                    values
                        .iter()
                        .map(|bytes| f32::from_le_bytes(*bytes))
                        .collect(),
                );
            }
            Dtype::I32 => {
                let (values, _) = data.as_chunks();
                ids.insert(
                    name,
                    values
                        .iter()
                        .map(|bytes| u32::from_le_bytes(*bytes) as usize)
                        .collect(),
                );
            }
            Dtype::I64 => {
                let (values, _) = data.as_chunks();
                ids.insert(
                    name,
                    values
                        .iter()
                        .map(|bytes| u64::from_le_bytes(*bytes) as usize)
                        .collect(),
                );
            }
            found => {
                let found = format!("{found:?}");
                return Err(BenchError::TensorType { file, name, found });
            }
        }
    }
    Ok((floats, ids))
}

pub(super) fn missing(name: &str) -> BenchError {
    BenchError::MissingTensor { name: name.into() }
}
