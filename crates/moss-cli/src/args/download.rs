//! Flags of `download`.

use clap::Args;

/// Download a model, or its missing files, into the hub's cache and print its folder
///
/// Downloads only the files that the engine needs, over several connections, and verifies them
/// against the hub's hashes. Interrupted downloads, including those of other tools, resume without
/// asking. Environment: HF_ENDPOINT (a mirror, such as `https://hf-mirror.com`),
/// MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN (with `--source modelscope`), HF_HOME or HF_HUB_CACHE
/// (the target), HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// ORGANISATION/NAME, or a published model's short name [default: what --model names]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Hash the files in the cache again and list the damaged ones
    ///
    /// They are compared with the hub's listing; with `--offline`, or if the hub cannot be reached,
    /// with the hashes that the cache records. The exit status is 1 if a file is damaged or
    /// missing. With `--yes`, these files are downloaded again.
    #[arg(long)]
    pub(crate) verify: bool,
}
