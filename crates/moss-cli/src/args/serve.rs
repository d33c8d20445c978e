//! Flags of `serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Serve an OpenAI-compatible API and a web page
///
/// Exit status: 0 stopped as asked, 1 could not start, 70 the engine failed (a panic of the model,
/// a lost GPU, or a step without progress; /health and /ready return 503 before), 130 ended at once
/// by a second signal.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Port to listen on; 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8888)]
    pub(crate) port: u16,
    /// Address to listen on; 0.0.0.0 for every network, which takes a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// A key that clients must send; several with commas, or by giving it again
    #[arg(
        long,
        env = "MOSS_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) api_key: Vec<String>,
    /// A file of such keys, one a line
    #[arg(long, env = "MOSS_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Listen beyond this machine without a key
    #[arg(long)]
    pub(crate) no_key: bool,
    /// A host name that clients may call this server by [default: names of this machine, any beyond
    /// it]
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Origin of another web page that may call the API from a browser, or `*`
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// Answers made at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) parallel: usize,
    /// Requests that may wait; one more is told to come back later
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) queue: usize,
    /// Tokens of all answers at once that the cache holds [default: four windows]
    #[arg(long, value_name = "N")]
    pub(crate) cache_tokens: Option<usize>,
    /// Seconds that a request may wait in the queue [default: 120, or longer where measured speed
    /// says that the requests ahead need longer]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) queue_time: Option<u64>,
    /// Seconds that a prompt may take [default: four times what measured speed predicts, at least
    /// 300, or 60 on GPUs alone]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) prompt_time: Option<u64>,
    /// Seconds that running answers are given after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain_time: u64,
    /// Form of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Write prompts into the log
    #[arg(long)]
    pub(crate) log_prompts: bool,
    /// Reject requests with unknown fields instead of ignoring these fields
    #[arg(long)]
    pub(crate) strict: bool,
}
