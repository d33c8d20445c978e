//! Values that a folder carries, to be compared with.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use moss::{files::MAX_BYTES, unicode};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use moss_messages::{Text, msg};

use crate::errors::CliError;

/// Largest file of expected tensors; all of it is held in memory.
const MAX_TENSOR_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
pub(super) struct Expected {
    pub(super) prompts: Vec<Prompt>,
    #[serde(default)]
    pub(super) greedy: Vec<Greedy>,
    #[serde(default)]
    pub(super) sampling: Vec<Sampling>,
    pub(super) hidden_prompt: Option<usize>,
    pub(super) max_abs_logit_diff_of_fp16_run: Option<f32>,
}

#[derive(Deserialize)]
pub(super) struct Prompt {
    pub(super) ids: Vec<u32>,
    pub(super) logit_rows: Vec<usize>,
}

#[derive(Deserialize)]
pub(super) struct Greedy {
    pub(super) prompt: usize,
    pub(super) repetition_penalty: f32,
    pub(super) tokens: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct Sampling {
    pub(super) prompt: usize,
    pub(super) generated: usize,
    pub(super) repetition_penalty: f32,
    pub(super) temperature: f32,
    pub(super) top_k: Option<usize>,
    pub(super) top_p: f32,
    pub(super) kept: Vec<(u32, f32)>,
}

/// Values by name.
pub(super) type Floats = HashMap<String, Vec<f32>>;
/// Token ids by name.
pub(super) type Ids = HashMap<String, Vec<usize>>;

/// The folder with the expected values: `folder`, or the one beside it that its expected.txt names.
pub(super) fn values_of(folder: &Path, stem: &str) -> PathBuf {
    let has_values = |folder: &PathBuf| folder.join(format!("{stem}.json")).is_file();
    let note = moss::files::read_bytes(&folder.join("expected.txt"), MAX_BYTES).unwrap_or_default();
    let note = unicode::decode(&note).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut beside = note
        .split(|c| !is_name(c))
        .filter(|word| !word.trim_matches('.').is_empty());
    let own = folder.to_owned();
    if has_values(&own) {
        return own;
    }
    beside
        .find_map(|name| Some(folder.join("..").join(name)).filter(has_values))
        .unwrap_or(own)
}

pub(super) fn read_json(folder: &Path, stem: &str) -> anyhow::Result<Expected> {
    let file = folder.join(format!("{stem}.json"));
    let text = moss::files::read_bytes(&file, MAX_BYTES)
        .map_err(|error| CliError::new(msg!("expected-missing", file)).because(error))?;
    let text =
        unicode::decode(&text).map_err(|error| CliError::new(cannot_read(&file)).because(error))?;
    serde_json::from_str(text)
        .map_err(|error| CliError::new(cannot_read(&file)).because(error).into())
}

fn cannot_read(file: &Path) -> Text {
    msg!("cannot-read", file = file.display())
}

pub(super) fn read_tensors(folder: &Path, stem: &str) -> anyhow::Result<(Floats, Ids)> {
    let file = folder.join(format!("{stem}.safetensors"));
    let bytes = moss::files::read_bytes(&file, MAX_TENSOR_BYTES)
        .map_err(|error| CliError::new(cannot_read(&file)).because(error))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| CliError::new(cannot_read(&file)).because(error))?;
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
                let file = file.display();
                return Err(CliError::new(msg!(
                    "expected-dtype",
                    name,
                    file,
                    found = format!("{found:?}")
                ))
                .into());
            }
        }
    }
    Ok((floats, ids))
}

pub(super) fn missing(name: &str) -> CliError {
    CliError::new(msg!("expected-no-tensor", name))
}
