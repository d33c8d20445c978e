//! Flags of `download`.

use clap::Args;

/// Download a model into the hub's cache, or what is missing of it, and print its folder
///
/// Only the files that the engine needs, over several connections, checked against the hub's
/// hashes. What was interrupted goes on where it stopped. Nothing is asked; what another tool left
/// unfinished is completed. Environment: HF_ENDPOINT (a mirror, such as `https://hf-mirror.com`),
/// MODELSCOPE_ENDPOINT or MODELSCOPE_DOMAIN (with `--source modelscope`), HF_HOME or HF_HUB_CACHE
/// (where to), HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// ORGANISATION/NAME, or a published model's short name [default: what --model names]
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Hash the files in the cache again, and list those that are damaged
    ///
    /// Checked against the hub's listing; with `--offline`, or if the hub cannot be reached,
    /// against the hashes that the cache records. The exit status is 1 if a file is damaged or
    /// missing; with `--yes` those files are downloaded again.
    #[arg(long)]
    pub(crate) verify: bool,
}
