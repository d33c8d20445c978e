//! Network sizes. They are checked here once; other modules rely on them.

use moss_checkpoint::RawConfig;

use crate::{BlockSpec, ComputeDtype, KvCacheType, ModelError, NetworkRule};

/// The shards of [query | value | key] rows in `qkv_proj`, a trace of four-way sharded training.
const TRAINING_SHARDS: usize = 4;

/// Sizes of a CodeGen network, validated from a checkpoint's `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct MossConfig {
    /// Rows of the embedding and of `lm_head`; more than the tokens of the tokenizer.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks of attention and MLP.
    pub num_layers: usize,
    /// Attention heads; a multiple of the four training shards.
    pub num_heads: usize,
    /// Lanes of a head: `hidden_size / num_heads`.
    pub head_dim: usize,
    /// Width inside the MLP; by default four times `hidden_size`.
    pub inner_size: usize,
    /// Lanes of each head that rotate with the position; even, at most `head_dim`.
    pub rotary_dim: usize,
    /// Trained positions: the maximum length of prompt and reply together.
    pub context_length: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
    /// The embedding serves as lm_head if the checkpoint has no separate one.
    pub tie_word_embeddings: bool,
    /// The token that ends a reply, if the checkpoint defines it.
    pub eos_token_id: Option<u32>,
}

/// Maximum sizes, at least sixteen times the published ones. Products of all of them fit 64 bits.
const MAX_LAYERS: usize = 1024;
const MAX_WIDTH: usize = 1 << 17;
const MAX_INNER: usize = 1 << 19;
const MAX_VOCAB: usize = 1 << 22;
/// 64 times the published context length. No tensor's shape depends on it.
const MAX_POSITIONS: usize = 1 << 17;

impl MossConfig {
    /// Returns the sizes of the published MOSS-moon-003 checkpoints: 16.7 billion parameters.
    pub const fn moon_003() -> Self {
        let block = BlockSpec::MOON_003;
        Self {
            vocab_size: 107_008,
            hidden_size: block.hidden_size(),
            num_layers: 34,
            num_heads: block.num_heads,
            head_dim: block.head_dim,
            inner_size: block.inner_size,
            rotary_dim: block.rotary_dim,
            context_length: block.context_length,
            layer_norm_epsilon: block.layer_norm_epsilon,
            tie_word_embeddings: false,
            eos_token_id: Some(106_068),
        }
    }

    /// Returns the sizes of a block.
    pub const fn block(&self) -> BlockSpec {
        BlockSpec {
            num_heads: self.num_heads,
            head_dim: self.head_dim,
            inner_size: self.inner_size,
            rotary_dim: self.rotary_dim,
            context_length: self.context_length,
            qkv_shards: TRAINING_SHARDS,
            layer_norm_epsilon: self.layer_norm_epsilon,
        }
    }

    /// Returns the bytes of keys and values per position, over all layers, at `bytes_per_value`.
    pub fn cache_bytes_per_position(&self, bytes_per_value: usize) -> u64 {
        let sizes = [self.num_layers, self.hidden_size, bytes_per_value];
        sizes
            .iter()
            .fold(2, |bytes: u64, size| bytes.saturating_mul(*size as u64))
    }

    /// Returns the bytes of keys and values per position, over all layers, in a cache of this type.
    /// `dtype` is that of [`LoadOptions::dtype`](crate::LoadOptions::dtype).
    pub fn kv_cache_bytes(&self, kv_cache: KvCacheType, dtype: ComputeDtype) -> u64 {
        match kv_cache {
            KvCacheType::Native => self.cache_bytes_per_position(dtype.bytes()),
            KvCacheType::Int8 => {
                // Two bytes per scale.
                let scales = [2, self.num_layers, self.num_heads, 2].map(|size| size as u64);
                let scales = scales.into_iter().fold(1, u64::saturating_mul);
                self.cache_bytes_per_position(1).saturating_add(scales)
            }
        }
    }
}

impl TryFrom<&RawConfig> for MossConfig {
    type Error = ModelError;

    fn try_from(raw: &RawConfig) -> Result<Self, ModelError> {
        let positive = |key: &'static str, value: usize, max: usize| {
            let expected = match value {
                0 => NetworkRule::AboveZero,
                value if value > max => NetworkRule::AtMost(max),
                value => return Ok(value),
            };
            Err(ModelError::Config {
                key,
                found: value.to_string(),
                expected,
            })
        };
        let hidden_size = positive("n_embd", raw.hidden_size, MAX_WIDTH)?;
        let num_heads = positive("n_head", raw.num_heads, MAX_WIDTH)?;
        if hidden_size % num_heads != 0 || num_heads % TRAINING_SHARDS != 0 {
            return Err(ModelError::Config {
                key: "n_head",
                found: num_heads.to_string(),
                expected: NetworkRule::HeadCount {
                    shards: TRAINING_SHARDS,
                    hidden_size,
                },
            });
        }
        let head_dim = hidden_size / num_heads;
        let rotary_dim = raw.rotary_dim.unwrap_or(head_dim);
        if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) || rotary_dim > head_dim {
            return Err(ModelError::Config {
                key: "rotary_dim",
                found: rotary_dim.to_string(),
                expected: NetworkRule::RotaryDim { head_dim },
            });
        }
        if let Some(activation) = raw
            .activation_function
            .as_deref()
            .filter(|name| *name != "gelu_new")
        {
            return Err(ModelError::Config {
                key: "activation_function",
                found: activation.to_owned(),
                expected: NetworkRule::GeluNew,
            });
        }
        let layer_norm_epsilon = raw.layer_norm_epsilon;
        if !(1e-12..=1e-2).contains(&layer_norm_epsilon) {
            return Err(ModelError::Config {
                key: "layer_norm_epsilon",
                found: layer_norm_epsilon.to_string(),
                expected: NetworkRule::SmallPositive,
            });
        }
        let vocab_size = positive("vocab_size", raw.vocab_size, MAX_VOCAB)?;
        let tokens = [
            ("eos_token_id", raw.eos_token_id),
            ("bos_token_id", raw.bos_token_id),
        ];
        for (key, id) in tokens.into_iter().filter_map(|(key, id)| Some((key, id?))) {
            if id as usize >= vocab_size {
                return Err(ModelError::Config {
                    key,
                    found: id.to_string(),
                    expected: NetworkRule::BelowVocab(vocab_size),
                });
            }
        }
        let inner_size = raw.inner_size.unwrap_or(hidden_size.saturating_mul(4));
        Ok(Self {
            vocab_size,
            hidden_size,
            num_layers: positive("n_layer", raw.num_layers, MAX_LAYERS)?,
            num_heads,
            head_dim,
            inner_size: positive("n_inner", inner_size, MAX_INNER)?,
            rotary_dim,
            context_length: positive("n_positions", raw.context_length, MAX_POSITIONS)?,
            layer_norm_epsilon,
            tie_word_embeddings: raw.tie_word_embeddings,
            eos_token_id: raw.eos_token_id,
        })
    }
}
