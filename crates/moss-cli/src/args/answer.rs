//! Flags that set how answers are generated.

use std::time::Duration;

use clap::Args;
use moss::SamplingParams;

use super::parse::seconds;

const CHAT: SamplingParams = SamplingParams::CHAT;

/// Flags of generation.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Answers")]
pub(crate) struct AnswerArgs {
    /// Sampling temperature; 0 always chooses the most likely token
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "T",
        default_value_t = CHAT.temperature
    )]
    pub(crate) temperature: f32,
    /// Sample from the K most likely tokens; 0 for all
    #[arg(long, global = true, value_name = "K", default_value_t = CHAT.top_k.unwrap_or(0))]
    pub(crate) top_k: usize,
    /// Sample from the most likely tokens whose probabilities add up to P
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = CHAT.top_p
    )]
    pub(crate) top_p: f32,
    /// Sample from tokens that are at least P times as likely as the most likely one
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = CHAT.min_p
    )]
    pub(crate) min_p: f32,
    /// Values above 1 make repetitions less likely
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "X",
        default_value_t = CHAT.repetition_penalty
    )]
    pub(crate) repetition_penalty: f32,
    /// From the 512th token of an answer on, values above 1 make its end more likely, values below
    /// 1 less likely
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "X",
        default_value_t = 1.0
    )]
    pub(crate) length_penalty: f32,
    /// Maximum number of tokens of an answer [default: as many as fit the context length of 2048]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Maximum time of an answer in seconds, from its first token
    #[arg(long, global = true, allow_negative_numbers = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_time: Option<Duration>,
    /// Random seed; the same seed gives the same text with the same build
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Make an answer depend on its prompt alone, also on GPUs
    ///
    /// By default, the next turn of a conversation reuses the cache of generated tokens, whose
    /// rounding on a GPU differs from that of a prompt. With this flag, it processes them again. On
    /// the CPU there is no difference.
    #[arg(long, global = true)]
    pub(crate) deterministic: bool,
    /// System prompt; replaces MOSS's meta instruction
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) system: Option<String>,
}
