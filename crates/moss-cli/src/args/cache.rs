//! Flags of `cache`.

use clap::{Args, ValueEnum};

/// An action on the prompt cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheAction {
    /// Show its files, the last used first
    List,
    /// Remove its files
    Clear,
}

/// List or clear the prompt cache: computed system prompts of chats
///
/// `--prompt-cache` names the folder.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// The action
    pub(crate) action: CacheAction,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
