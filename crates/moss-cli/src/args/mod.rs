//! Command-line arguments as typed. Commands interpret them.

mod answer;
mod bench;
mod cache;
mod completions;
mod convert;
mod doctor;
mod download;
mod eval;
mod generate;
mod inspect;
mod logits;
mod man;
mod model;
mod output;
mod parse;
mod plan;
mod plugins;
mod quantize;
mod serve;
mod tokenize;
mod verify;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    answer::AnswerArgs,
    bench::BenchArgs,
    cache::{CacheAction, CacheArgs},
    completions::CompletionsArgs,
    convert::{ContainerArg, ConvertArgs},
    doctor::DoctorArgs,
    download::DownloadArgs,
    eval::EvalArgs,
    generate::GenerateArgs,
    inspect::InspectArgs,
    logits::LogitsArgs,
    man::ManArgs,
    model::{
        ActivationsArg, DemoArg, DtypeArg, EngineArg, FormatArg, KvCacheArg, ModelArgs, RopeArg,
        SourceArg,
    },
    output::OutputArgs,
    parse::ArgError,
    plan::PlanArgs,
    plugins::{PluginArgs, PluginsArgs, PluginsTask},
    quantize::{MethodArg, QuantizeArgs},
    serve::{LogFormat, ServeArgs},
    tokenize::TokenizeArgs,
    verify::VerifyArgs,
};

/// Chat with MOSS-moon-003 on your own machine
///
/// Without a subcommand this starts a chat. Exit status: 0 done, 1 failed, 2 wrong usage, 74 a
/// weight file was truncated while in use, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "moss-cli", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Chat at the terminal (the default subcommand)
    Chat,
    Generate(GenerateArgs),
    Download(DownloadArgs),
    Inspect(InspectArgs),
    Serve(ServeArgs),
    Bench(BenchArgs),
    Cache(CacheArgs),
    Doctor(DoctorArgs),
    Plan(PlanArgs),
    Plugins(PluginsArgs),
    Tokenize(TokenizeArgs),
    Logits(LogitsArgs),
    Verify(VerifyArgs),
    Convert(ConvertArgs),
    Quantize(QuantizeArgs),
    Eval(EvalArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}
