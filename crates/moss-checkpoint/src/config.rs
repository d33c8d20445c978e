//! `config.json` as found: the network's sizes under the field's own names. Whether they make sense
//! is the model's affair.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    CheckpointError,
    declared::Declared,
    error::{ConfigRule, FileRole},
    files,
};

/// Network shape, as written in the checkpoint's `config.json`. Sizes have no defaults: upstream's
/// class defaults are not the published checkpoints'.
#[derive(Debug, Clone, PartialEq)]
pub struct RawConfig {
    /// Rows of embedding and head (`vocab_size`).
    pub vocab_size: usize,
    /// Width of the residual stream (`n_embd`).
    pub hidden_size: usize,
    /// Blocks (`n_layer`).
    pub num_layers: usize,
    /// Attention heads (`n_head`).
    pub num_heads: usize,
    /// Width inside the MLP (`n_inner`), null for four times the hidden size.
    pub inner_size: Option<usize>,
    /// Rotating lanes of a head (`rotary_dim`).
    pub rotary_dim: Option<usize>,
    /// Trained positions (`n_positions`, or `n_ctx` where that is missing).
    pub context_length: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
    /// Name of the activation, `gelu_new` for MOSS.
    pub activation_function: Option<String>,
    /// The head is the embedding.
    pub tie_word_embeddings: bool,
    /// First token of a text.
    pub bos_token_id: Option<u32>,
    /// The token that ends an answer.
    pub eos_token_id: Option<u32>,
    /// Type that the weights are said to have; it has been wrong.
    pub torch_dtype: Option<String>,
    /// Bits of a quantised weight; it has been wrong. 32 or 16 means not quantised.
    pub wbits: Option<i64>,
    /// Input features that share a scale; -1 for all.
    pub groupsize: Option<i64>,
    /// `quantization_config`, as today's quantisers write it.
    pub(crate) quantization: Option<Declared>,
}

impl RawConfig {
    /// Returns `false` if `wbits` says that the weights are not quantised. Upstream's class writes
    /// that, beside a `groupsize`, into every configuration that does not say otherwise.
    pub(crate) fn is_quantised(&self) -> bool {
        !matches!(self.wbits, Some(16 | 32))
    }

    /// Reads the `config.json` of a folder.
    ///
    /// # Errors
    /// [`CheckpointError::Read`]; [`CheckpointError::WrongKind`]; and those of
    /// [`RawConfig::from_json`].
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let file = folder.as_ref().join("config.json");
        Self::from_json(&files::read(&file, FileRole::Config)?, &file)
    }

    /// Reads the bytes of a `config.json`; `file` is named in errors. Unknown keys are ignored.
    ///
    /// # Errors
    /// [`CheckpointError::Json`] with line and column; [`CheckpointError::ConfigValue`] with the
    /// key; [`CheckpointError::Encoding`] for text that is not UTF-8.
    pub fn from_json(bytes: &[u8], file: &Path) -> Result<Self, CheckpointError> {
        let map = object(bytes, file, FileRole::Config)?;
        let keys = Keys {
            map: &map,
            file,
            prefix: "",
        };
        let context_length = keys.size("n_positions")?;
        // `n_ctx` stands in for a missing `n_positions`, and has to be a size in either case.
        let n_ctx = keys.size("n_ctx")?;
        let quantization = match map.get("quantization_config") {
            None | Some(Value::Null) => None,
            Some(Value::Object(map)) => Some(Declared::read(&Keys {
                map,
                file,
                prefix: "quantization_config.",
            })?),
            Some(found) => {
                return Err(keys.wrong("quantization_config", Some(found), ConfigRule::Object));
            }
        };
        let quantization = Declared::merge(quantization, Declared::from_top_level(&keys))?;
        Ok(Self {
            vocab_size: keys.needed("vocab_size", keys.size("vocab_size")?, ConfigRule::Size)?,
            hidden_size: keys.needed("n_embd", keys.size("n_embd")?, ConfigRule::Size)?,
            num_layers: keys.needed("n_layer", keys.size("n_layer")?, ConfigRule::Size)?,
            num_heads: keys.needed("n_head", keys.size("n_head")?, ConfigRule::Size)?,
            inner_size: keys.size("n_inner")?,
            rotary_dim: keys.size("rotary_dim")?,
            context_length: keys.needed(
                "n_positions",
                context_length.or(n_ctx),
                ConfigRule::Size,
            )?,
            layer_norm_epsilon: keys.needed(
                "layer_norm_epsilon",
                keys.number("layer_norm_epsilon")?,
                ConfigRule::Number,
            )?,
            activation_function: keys.text("activation_function")?,
            tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(false),
            bos_token_id: keys.token("bos_token_id")?,
            eos_token_id: keys.token("eos_token_id")?,
            torch_dtype: keys.text("torch_dtype")?,
            wbits: keys.integer("wbits")?,
            groupsize: keys.integer("groupsize")?,
            quantization,
        })
    }

    /// `n_inner`, or four times `n_embd`; `None` where that overflows.
    pub(crate) fn inner(&self) -> Option<usize> {
        self.inner_size.or(self.hidden_size.checked_mul(4))
    }
}

/// The object that a JSON file holds.
pub(crate) fn object(
    bytes: &[u8],
    file: &Path,
    what: FileRole,
) -> Result<Map<String, Value>, CheckpointError> {
    serde_json::from_str(files::text(bytes, file)?).map_err(|source| CheckpointError::Json {
        file: file.to_owned(),
        what,
        source,
    })
}

/// Values of a JSON object by key; null counts as missing. Values of another type are errors that
/// name the key.
pub(crate) struct Keys<'a> {
    pub(crate) map: &'a Map<String, Value>,
    pub(crate) file: &'a Path,
    /// What stands in front of the keys in errors.
    pub(crate) prefix: &'static str,
}

impl Keys<'_> {
    fn typed<T>(
        &self,
        key: &str,
        expected: ConfigRule,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        match self.map.get(key).filter(|value| !value.is_null()) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.wrong(key, Some(value), expected)),
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        self.typed(key, ConfigRule::Size, |value| {
            value.as_u64().and_then(|value| usize::try_from(value).ok())
        })
    }

    fn token(&self, key: &str) -> Result<Option<u32>, CheckpointError> {
        self.typed(key, ConfigRule::TokenId, |value| {
            value.as_u64().and_then(|value| u32::try_from(value).ok())
        })
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, CheckpointError> {
        self.typed(key, ConfigRule::Integer, Value::as_i64)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.typed(key, ConfigRule::Number, Value::as_f64)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.typed(key, ConfigRule::Flag, Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, CheckpointError> {
        self.typed(key, ConfigRule::Text, |value| {
            value.as_str().map(str::to_owned)
        })
    }

    fn needed<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: ConfigRule,
    ) -> Result<T, CheckpointError> {
        value.ok_or_else(|| self.wrong(key, self.map.get(key), expected))
    }

    /// The error for a value that is not `expected`.
    pub(crate) fn wrong(
        &self,
        key: &str,
        found: Option<&Value>,
        expected: ConfigRule,
    ) -> CheckpointError {
        CheckpointError::ConfigValue {
            file: self.file.to_owned(),
            key: format!("{}{key}", self.prefix),
            found: found.map(brief),
            expected,
        }
    }
}

/// A value as JSON, cut short, on one line.
fn brief(value: &Value) -> String {
    const SHOWN: usize = 40;
    let text = value.to_string();
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .filter(|c| !c.is_control())
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
