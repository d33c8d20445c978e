//! Flags that set what is printed besides answers.

use clap::Args;

use crate::messages::Language;

/// What is said besides answers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Nothing but answers and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// More about what happens; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Language of messages [default: the locale's]
    #[arg(long, global = true, value_name = "LANG")]
    pub(crate) lang: Option<Language>,
}
