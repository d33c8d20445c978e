//! Flags of plugins, and of `plugins`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::parse::seconds;

/// Flags of plugins.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct PluginArgs {
    /// Plugins to enable in plugin models: web-search, calculator, equation-solver, text-to-image
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    pub(crate) plugins: Vec<String>,
    /// Do not run plugins; enter their results with `/results` in a chat
    #[arg(long, global = true)]
    pub(crate) plugins_by_hand: bool,
    /// Address of a SearXNG server for web-search, such as `http://localhost:8080`
    ///
    /// Its JSON format must be enabled: `search.formats` in settings.yml. Only this server is
    /// contacted, with the queries of the model.
    #[arg(
        long,
        global = true,
        env = "MOSS_SEARCH_URL",
        value_name = "URL",
        conflicts_with = "search_command"
    )]
    pub(crate) search_url: Option<String>,
    /// Program for web-search: reads the query on stdin, writes one result per line
    ///
    /// The shell runs it. The address and the title of a result's page may follow in its line,
    /// after tabs.
    #[arg(
        long,
        global = true,
        env = "MOSS_SEARCH_COMMAND",
        value_name = "COMMAND"
    )]
    pub(crate) search_command: Option<String>,
    /// Address of an OpenAI-compatible images API for text-to-image, such as
    /// `http://localhost:8081/v1`
    #[arg(long, global = true, env = "MOSS_IMAGE_URL", value_name = "URL")]
    pub(crate) image_url: Option<String>,
    /// Key of the images API
    #[arg(
        long,
        global = true,
        env = "MOSS_IMAGE_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    pub(crate) image_key: Option<String>,
    /// Model of the images API [default: the server's]
    #[arg(long, global = true, env = "MOSS_IMAGE_MODEL", value_name = "NAME")]
    pub(crate) image_model: Option<String>,
    /// Folder for generated pictures; existing files are kept
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// A plugin that is a program: NAME=COMMAND; repeat the flag for several plugins
    ///
    /// The model calls it as `NAME("…")`, if the system prompt describes it. The shell runs the
    /// command; the argument is on its stdin, and its lines are the result.
    #[arg(long, global = true, value_name = "NAME=COMMAND")]
    pub(crate) plugin_command: Vec<String>,
    /// Maximum time of the plugin calls of an answer, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "60"
    )]
    pub(crate) plugin_time: Duration,
}

/// A task of `plugins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PluginsTask {
    /// Show the plugins and whether they can run
    List,
    /// Run calls and show what the model would read
    Test,
    /// Explain what plugins do and where data go
    Explain,
}

/// List, test or explain the plugins of plugin models
#[derive(Debug, Args)]
pub(crate) struct PluginsArgs {
    /// The task
    #[arg(default_value = "list")]
    pub(crate) task: PluginsTask,
    /// The calls to test, such as `Calculate("1+2"), Solve("2x=5")` [default: one of each plugin
    /// that can run]
    // The help sorts arguments by their ids, so this one must follow `task`.
    #[arg(value_name = "CALLS")]
    pub(crate) text: Option<String>,
}
