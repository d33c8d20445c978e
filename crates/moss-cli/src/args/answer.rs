//! Flags that set how answers are generated.

use std::time::Duration;

use clap::Args;

use super::parse::seconds;

/// How answers are made.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Answers")]
pub(crate) struct AnswerArgs {
    /// 0 takes the best token always
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "T",
        default_value_t = 0.7
    )]
    pub(crate) temperature: f32,
    /// Only the best K tokens; 0 for all
    #[arg(long, global = true, value_name = "K", default_value_t = 40)]
    pub(crate) top_k: usize,
    /// Only the likeliest tokens that together reach this probability
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = 0.8
    )]
    pub(crate) top_p: f32,
    /// Only tokens at least this likely, relative to the likeliest
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "P",
        default_value_t = 0.0
    )]
    pub(crate) min_p: f32,
    /// Above 1 makes repetitions less likely
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "X",
        default_value_t = 1.02
    )]
    pub(crate) repetition_penalty: f32,
    /// From the 512th token of an answer on, makes its end likelier (above 1) or less likely (below
    /// 1)
    #[arg(
        long,
        global = true,
        allow_negative_numbers = true,
        value_name = "X",
        default_value_t = 1.0
    )]
    pub(crate) length_penalty: f32,
    /// Tokens of an answer at most [default: as many as the window of 2048 holds]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Seconds of an answer at most, from its first token
    #[arg(long, global = true, allow_negative_numbers = true, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_time: Option<Duration>,
    /// The same seed gives the same text on the same build
    #[arg(long, global = true, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Stands before the first turn instead of MOSS's published instruction
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Plugins to switch on, for plugin models: web-search, calculator, equation-solver,
    /// text-to-image
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    pub(crate) plugins: Vec<String>,
}
