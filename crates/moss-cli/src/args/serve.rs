//! Flags of `serve`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use super::parse::in_range;

/// Maximum of `--parallel`.
const MAX_PARALLEL: u64 = moss::EngineOptions::MAX_SEQUENCES as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Serve an OpenAI-compatible API and a web page
///
/// Exit status: 0 stopped by a signal, 1 could not start, 70 the engine failed (the model panicked,
/// a GPU was lost, or a forward pass made no progress; until the exit, /health and /ready return 503), 130
/// ended immediately by a second signal.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Port to listen on; 0 for any free port
    #[arg(long, value_name = "N", default_value_t = 8888)]
    pub(crate) port: u16,
    /// Address to listen on; 0.0.0.0 for every network, which requires a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// API key that clients must send; separate several with commas or repeat the flag
    #[arg(
        long,
        env = "MOSS_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) api_key: Vec<String>,
    /// File with API keys, a name and a key per line; repeat the flag for several files
    ///
    /// The name may be omitted. It is the key's name in the log, in /metrics and in /stats. Empty
    /// lines and lines that begin with `#` are ignored. On SIGHUP, the files are read again; if one
    /// is invalid, the former keys stay in use.
    #[arg(long, env = "MOSS_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Vec<PathBuf>,
    /// Listen to other machines without a key
    #[arg(long)]
    pub(crate) no_key: bool,
    /// Host name that clients may use for this server [default: names of this machine; any if other
    /// machines can connect]
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Origin of another web page that may call the API from a browser, or `*`
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// Maximum number of answers that are generated at the same time, from 1 to 256 [default: 256, or
    /// as many as the memory of the GPUs allows; 32 on a CPU]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>(1..=MAX_PARALLEL))]
    pub(crate) parallel: Option<usize>,
    /// Maximum number of answers that are generated at the same time for one API key [default: as
    /// many as --parallel]
    #[arg(long, value_name = "N", value_parser = in_range::<usize>(1..=MAX_PARALLEL))]
    pub(crate) max_per_key: Option<usize>,
    /// Maximum number of queued requests; further requests get status 429
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) queue: usize,
    /// Size of the KV cache in tokens, for all answers together [default: the remaining memory of the
    /// GPUs; on a CPU four times the context length]
    #[arg(long, value_name = "N")]
    pub(crate) cache_tokens: Option<usize>,
    /// Maximum time of a request in the queue, in seconds [default: 120, or longer if the requests
    /// before it need longer at the measured speed]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) queue_time: Option<u64>,
    /// Maximum time of prefill, in seconds [default: four times the time predicted from the
    /// measured speed, at least 300, or 60 if all devices are GPUs]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) prompt_time: Option<u64>,
    /// Time for running answers to finish after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain_time: u64,
    /// Format of the log on stderr
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Write prompts to the log
    #[arg(long)]
    pub(crate) log_prompts: bool,
    /// Reject requests with unknown fields instead of ignoring these fields
    #[arg(long)]
    pub(crate) strict: bool,
}
