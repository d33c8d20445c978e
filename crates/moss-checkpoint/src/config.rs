//! `config.json` as found: the network's sizes under the field's own names. Whether they make sense is the model's affair.

use std::path::Path;

use serde::Deserialize;

use crate::{CheckpointError, files};

/// Network shape, as written in the checkpoint's `config.json`. Sizes have no defaults: upstream's class defaults are not
/// the published checkpoints'.
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
}

#[derive(Deserialize)]
struct ConfigJson {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    rotary_dim: Option<usize>,
    n_positions: Option<usize>,
    n_ctx: Option<usize>,
    layer_norm_epsilon: f64,
    activation_function: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    bos_token_id: Option<u32>,
    eos_token_id: Option<u32>,
    torch_dtype: Option<String>,
    wbits: Option<i64>,
    groupsize: Option<i64>,
}

impl RawConfig {
    /// Reads the `config.json` of a folder.
    ///
    /// # Errors
    /// [`CheckpointError::Read`]; [`CheckpointError::WrongKind`]; and those of [`RawConfig::from_json`].
    pub fn read(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let file = folder.as_ref().join("config.json");
        Self::from_json(&files::read(&file, "a config.json")?, &file)
    }

    /// Reads the bytes of a `config.json`; `file` is named in errors. Unknown keys are ignored.
    ///
    /// # Errors
    /// [`CheckpointError::Json`] with line and key; [`CheckpointError::Encoding`] for text that is not UTF-8.
    pub fn from_json(bytes: &[u8], file: &Path) -> Result<Self, CheckpointError> {
        let error = |source| CheckpointError::Json { file: file.to_owned(), what: "config.json", source };
        let json: ConfigJson = serde_json::from_str(files::text(bytes, file)?).map_err(error)?;
        let context_length = json
            .n_positions
            .or(json.n_ctx)
            .ok_or_else(|| error(<serde_json::Error as serde::de::Error>::missing_field("n_positions")))?;
        Ok(Self {
            vocab_size: json.vocab_size,
            hidden_size: json.n_embd,
            num_layers: json.n_layer,
            num_heads: json.n_head,
            inner_size: json.n_inner,
            rotary_dim: json.rotary_dim,
            context_length,
            layer_norm_epsilon: json.layer_norm_epsilon,
            activation_function: json.activation_function,
            tie_word_embeddings: json.tie_word_embeddings,
            bos_token_id: json.bos_token_id,
            eos_token_id: json.eos_token_id,
            torch_dtype: json.torch_dtype,
            wbits: json.wbits,
            groupsize: json.groupsize,
        })
    }
}
