//! Flags for output other than answers.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use moss_messages::Language;

/// Output other than answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print only answers and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print more about progress; given twice, print everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Language of messages [default: the locale's]
    #[arg(long, global = true, value_name = "LANG", value_parser = PossibleValuesParser::new(["en", "zh"])
        .map(|tag| Language::from_tag(&tag).unwrap_or(Language::En)))]
    pub(crate) lang: Option<Language>,
}
