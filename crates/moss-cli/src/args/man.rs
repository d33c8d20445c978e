//! Flags of `man`.

use clap::Args;

/// Print the manual page, of the program or of one subcommand
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// A subcommand [default: the program]
    pub(crate) subcommand: Option<String>,
}
