//! Network sizes, checked once: what comes after trusts them.

/// Sizes of a CodeGen network, as validated from a checkpoint's `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct MossConfig {
    /// Rows of the embedding and of `lm_head`; more than the tokenizer has tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks of attention and MLP.
    pub num_layers: usize,
    /// Attention heads; a multiple of the four training shards.
    pub num_heads: usize,
    /// Lanes of a head: `hidden_size / num_heads`.
    pub head_dim: usize,
    /// Width inside the MLP; four times `hidden_size` unless the checkpoint says otherwise.
    pub inner_size: usize,
    /// Lanes of each head that rotate with the position; even, at most `head_dim`.
    pub rotary_dim: usize,
    /// Trained positions: the longest prompt and answer together.
    pub context_length: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
    /// The token that ends an answer, where the checkpoint names one.
    pub eos_token_id: Option<u32>,
}
