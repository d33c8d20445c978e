//! Reasons of invalid requests, as parts of the messages to clients.

/// Why a field is not supported. The text follows "is not supported".
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Reason {
    #[error(" as {found}, expected {expected}")]
    Value { found: String, expected: String },
    #[error(": it needs `{0}`")]
    Needs(&'static str),
    #[error(": there is no such field, and this server runs with `--strict`")]
    UnknownField,
    #[error(": MOSS calls no tools; leave it out, or set `{choice}` to `none`")]
    Tools { choice: String },
    #[error(": every generated answer is returned; leave it out, or set it to `n`")]
    BestOf,
    #[error(": `{model}` was not trained with plugins")]
    NotAPluginModel { model: String },
    #[error(": the model was not trained with plugins")]
    NoPlugins,
    #[error(": this server runs no plugins; it needs `serve --plugins LIST`")]
    PluginsNotServed,
    #[error(" by plugin models")]
    PluginModel,
    #[error(": only chats have plugins")]
    ChatOnly,
    #[error(" as `auto`: a text has no turns that could be dropped")]
    NoTurns,
    #[error(" together with a different `max_tokens`, which it replaces")]
    TwoLimits,
    #[error(" here, expected text of the answer to continue, or `moss.results`")]
    NothingToContinue,
    #[error(": only messages of the assistant have it")]
    AssistantOnly,
    #[error(": this message continues another one")]
    Continuation,
    #[error(": `results` need `commands`")]
    NoCommands,
    #[error(" together with `prompt`: send one of them")]
    WithPrompt,
    #[error(
        ": MOSS was trained to write text, and has no vectors that compare texts; use an embedding model"
    )]
    NoEmbeddings,
}

/// The expected value of a field.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Expected {
    #[error("{least} to {most}")]
    Range { least: f32, most: f32 },
    #[error("{least} to {most} {what}")]
    Count {
        least: usize,
        most: usize,
        what: &'static str,
    },
    #[error("{least} or more {what}")]
    AtLeast { least: usize, what: &'static str },
    #[error("above 0 and up to {most}")]
    Seconds { most: f64 },
    #[error("a token id")]
    TokenId,
    #[error("more than the {tokens} tokens of the prompt")]
    MoreThanPrompt { tokens: usize },
}

/// An invalid header `Host`.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum HostFault {
    #[error("no `Host` header")]
    Missing,
    #[error("several `Host` headers")]
    Several,
    #[error("a `Host` header that is not a host")]
    Invalid,
}
