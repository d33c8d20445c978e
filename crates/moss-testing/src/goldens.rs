use std::{collections::HashMap, fs};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::{fixture, ids, read_json};

/// Expected values of a fixture, as `tests/oracle` computed them.
pub struct Goldens {
    /// Prompts, greedy continuations and the positions of the stored logits.
    pub json: Value,
    /// f32 tensors by name, such as `prompt.0.logits`.
    pub tensors: HashMap<String, Vec<f32>>,
}

impl Goldens {
    /// Reads `STEM.json` and `STEM.safetensors` of a fixture. The usual stem is `expected`.
    pub fn read(name: &str, stem: &str) -> Self {
        let file = |extension: &str| fixture(name).join(stem).with_extension(extension);
        Self {
            json: read_json(file("json")),
            tensors: f32_tensors(&fs::read(file("safetensors")).unwrap()),
        }
    }

    /// Returns the token ids of each prompt.
    pub fn prompts(&self) -> Vec<Vec<u32>> {
        let prompts = self.json["prompts"].as_array().unwrap();
        prompts.iter().map(|prompt| ids(&prompt["ids"])).collect()
    }
}

/// Reads the f32 tensors of a safetensors file.
pub fn f32_tensors(file: &[u8]) -> HashMap<String, Vec<f32>> {
    let values = |data: &[u8]| {
        let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        data.chunks_exact(4).map(value).collect()
    };
    let tensors = SafeTensors::deserialize(file).unwrap().tensors();
    let tensors = tensors.into_iter();
    tensors
        .map(|(name, view)| (name, values(view.data())))
        .collect()
}
