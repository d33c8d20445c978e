//! `config.json` as found: the sizes of the network under the field's names. `moss-model` checks
//! whether they make sense.

use std::path::Path;

use serde_json::Value;

use crate::{
    CheckpointError,
    error::{ConfigRule, FileRole},
    json::{Keys, object},
    quantization::QuantizationConfig,
    read,
};

/// The shape of the network, as written in the checkpoint's `config.json`. Sizes have no defaults:
/// those of upstream's class differ from the published checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct RawConfig {
    /// Rows of the embedding and of lm_head (`vocab_size`).
    pub vocab_size: usize,
    /// Width of the residual stream (`n_embd`).
    pub hidden_size: usize,
    /// Layers (`n_layer`).
    pub num_layers: usize,
    /// Attention heads (`n_head`).
    pub num_heads: usize,
    /// Width inside the MLP (`n_inner`), null for four times the hidden size.
    pub inner_size: Option<usize>,
    /// Dimensions of a head with a rotary embedding (`rotary_dim`).
    pub rotary_dim: Option<usize>,
    /// Context length (`n_positions`, or `n_ctx` if that is missing).
    pub context_length: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
    /// Name of the activation function, `gelu_new` for MOSS.
    pub activation_function: Option<String>,
    /// Is true if lm_head uses the matrix of the embedding.
    pub tie_word_embeddings: bool,
    /// First token of a text.
    pub bos_token_id: Option<u32>,
    /// The token that ends a reply.
    pub eos_token_id: Option<u32>,
    /// Declared type of the weights. Published files have had it wrong.
    pub torch_dtype: Option<String>,
    /// Declared bits of a weight; 32 or 16 means not quantized. Published files have had it wrong.
    pub wbits: Option<i64>,
    /// Input features that share a scale; -1 for all.
    pub groupsize: Option<i64>,
    /// The keys of `quantization_config`.
    pub(crate) quantization: Option<QuantizationConfig>,
}

impl RawConfig {
    /// Reads the `config.json` of a folder.
    ///
    /// # Errors
    /// [`CheckpointError::Read`]; [`CheckpointError::WrongKind`]; and those of
    /// [`RawConfig::from_json`].
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let file = folder.as_ref().join("config.json");
        Self::from_json(&read::read(&file, FileRole::Config)?, &file)
    }

    /// Parses the bytes of a `config.json`; `file` is named in errors. Unknown keys are ignored.
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
        let required_size = |key| keys.required(key, keys.size(key)?, ConfigRule::Size);
        let context_length = keys.size("n_positions")?;
        // `n_ctx` replaces a missing `n_positions`; its type is checked in either case.
        let n_ctx = keys.size("n_ctx")?;
        let quantization = quantization(&keys)?;
        Ok(Self {
            vocab_size: required_size("vocab_size")?,
            hidden_size: required_size("n_embd")?,
            num_layers: required_size("n_layer")?,
            num_heads: required_size("n_head")?,
            inner_size: keys.size("n_inner")?,
            rotary_dim: keys.size("rotary_dim")?,
            context_length: keys.required(
                "n_positions",
                context_length.or(n_ctx),
                ConfigRule::Size,
            )?,
            layer_norm_epsilon: keys.required(
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

    /// Returns `false` if `wbits` says that the weights are not quantized. Upstream's class writes
    /// that, with a `groupsize`, into every configuration that does not say otherwise.
    pub(crate) fn is_quantized(&self) -> bool {
        !matches!(self.wbits, Some(16 | 32))
    }

    /// Returns `n_inner`, or four times `n_embd`; `None` if that overflows.
    pub(crate) fn inner(&self) -> Option<usize> {
        self.inner_size.or(self.hidden_size.checked_mul(4))
    }

    /// Rejects a `groupsize` that contradicts the `group_size` of `declared`. Both sizes may fit
    /// the tensors, so the tensors cannot decide which one is right.
    pub(crate) fn check_group_size(
        &self,
        file: &Path,
        declared: Option<&QuantizationConfig>,
    ) -> Result<(), CheckpointError> {
        let Some((declared, group_size)) = declared.and_then(|all| Some((all, all.group_size?)))
        else {
            return Ok(());
        };
        match self.groupsize.filter(|_| self.is_quantized()) {
            Some(groupsize) if groupsize != group_size => Err(CheckpointError::ConfigConflict {
                key: "groupsize",
                is_same_file: file == declared.file,
                first: file.to_owned(),
                first_value: groupsize.to_string(),
                second_key: "group_size",
                second: declared.file.clone(),
                second_value: group_size.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// Reads the settings of quantization in a `config.json`: `quantization_config`, and a convention
/// of zero points at the top level.
fn quantization(keys: &Keys<'_>) -> Result<Option<QuantizationConfig>, CheckpointError> {
    let nested = match keys.map.get("quantization_config") {
        None | Some(Value::Null) => None,
        Some(Value::Object(map)) => Some(QuantizationConfig::read(&Keys {
            map,
            file: keys.file,
            prefix: "quantization_config.",
        })?),
        Some(found) => {
            return Err(keys.wrong("quantization_config", Some(found), ConfigRule::Object));
        }
    };
    QuantizationConfig::merge(nested, QuantizationConfig::from_top_level(keys))
}
