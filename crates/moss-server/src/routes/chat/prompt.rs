//! Builds a prompt from messages.

use moss_text::{Plugin, PluginFields, Prompt, PromptBuilder, SystemText, Turn};

use super::truncation::oldest_to_drop;
use crate::{
    ServedModel,
    error::ApiError,
    reason::Reason,
    wire::chat::{Message, Role},
};

/// The prompt of an answer.
pub(super) struct ChatPrompt {
    pub(super) builder: PromptBuilder,
    pub(super) prompt: Prompt,
    /// Number of messages that were dropped because the conversation exceeds the context length.
    pub(super) dropped_messages: usize,
}

/// A message of the user and the answer.
#[derive(Default)]
struct Exchange {
    user: Option<String>,
    moss: Option<(String, Option<PluginFields>)>,
    /// Number of messages that it consists of.
    messages: usize,
    /// Index of the first message of `moss`.
    answered_by: usize,
}

/// A conversation.
#[derive(Default)]
struct Exchanges {
    instruction: Option<String>,
    all: Vec<Exchange>,
    /// Number of skipped messages before the first exchange.
    skipped: usize,
}

/// Builds the prompt of a list of messages:
///
/// 1. System messages at the beginning replace the server's system prompt. Later ones are part of
///    the user's message at that position.
/// 2. Text that is empty or only white space is ignored. Such a system message keeps the server's
///    system prompt, such an assistant message (a placeholder for the answer) is skipped, and such
///    a user message adds nothing to adjacent messages.
/// 3. Adjacent messages of one role become one message, separated by an empty line.
/// 4. An answer before the first user message answers an empty message. So does the new answer if
///    there is no user message.
/// 5. If the last message is the assistant's, the answer continues it.
///
/// `truncate_for` drops the oldest exchanges of a conversation that exceeds the context length, so
/// that an answer of this many tokens fits.
///
/// # Errors
/// [`ApiError::Unsupported`] naming a field that the message cannot have.
pub(super) fn build(
    model: &ServedModel,
    messages: Vec<Message>,
    plugins: &[Plugin],
    truncate_for: Option<usize>,
) -> Result<ChatPrompt, ApiError> {
    let Exchanges {
        instruction,
        all: mut exchanges,
        ..
    } = arrange(model, messages)?;
    let last = exchanges.pop().unwrap_or_default();
    let builder = model.prompts(instruction.map(SystemText::Custom), plugins)?;
    let mut turns = Vec::with_capacity(exchanges.len());
    let mut counts = Vec::with_capacity(exchanges.len());
    for Exchange {
        user,
        moss,
        messages,
        ..
    } in exchanges
    {
        let (text, fields) = moss.unwrap_or_default();
        turns.push(Turn {
            user: user.unwrap_or_default(),
            reply: builder.past_reply(&text, fields.as_ref(), false)?,
        });
        counts.push(messages);
    }
    let user = last.user.unwrap_or_default();
    let (mut begun, mut continues) = (Vec::new(), false);
    if let Some((text, fields)) = last.moss {
        if text.is_empty()
            && fields
                .as_ref()
                .is_none_or(|fields| fields.results.is_none())
        {
            let reason = Reason::NothingToContinue;
            return Err(unsupported(last.answered_by, "role", reason));
        }
        begun = builder.past_reply(&text, fields.as_ref(), true)?;
        continues = !text.is_empty();
    }
    let layout = builder.layout(&turns, &user, &begun)?;
    let dropped = truncate_for.map_or(0, |answer| {
        let tokens = |range, begun| layout.tokens(range, begun);
        oldest_to_drop(tokens, turns.len(), answer, model.engine.context_length())
    });
    let prompt = Prompt {
        continues,
        ..layout.into_prompt(dropped)?
    };
    Ok(ChatPrompt {
        builder,
        prompt,
        dropped_messages: counts[..dropped].iter().sum(),
    })
}

/// Returns the exchanges of a conversation; see [`build`] for the rules.
fn arrange(model: &ServedModel, messages: Vec<Message>) -> Result<Exchanges, ApiError> {
    let mut conversation = Exchanges::default();
    for (
        index,
        Message {
            role,
            content,
            moss: fields,
            ..
        },
    ) in messages.into_iter().enumerate()
    {
        let text = content.into_text();
        let fields = fields.filter(|fields| model.has_plugins || !fields.is_empty());
        check_plugin_fields(model, &conversation, role, fields.as_ref())
            .map_err(|reason| unsupported(index, "moss", reason))?;
        match role {
            Role::System if conversation.all.is_empty() => {
                append(&mut conversation.instruction, text)
            }
            Role::System if is_blank(&text) => conversation.skip(),
            Role::System | Role::User => append(&mut conversation.asking().user, text),
            Role::Assistant if is_blank(&text) && fields.is_none() => conversation.skip(),
            Role::Assistant => {
                let exchange = conversation.answering();
                match &mut exchange.moss {
                    // The answer after results is a separate message.
                    Some((answer, _)) if answer.is_empty() => *answer = text,
                    Some((answer, _)) => answer.push_str(&format!("\n\n{text}")),
                    None => {
                        exchange.answered_by = index;
                        exchange.moss = Some((text, fields));
                    }
                }
            }
        }
    }
    Ok(conversation)
}

impl Exchanges {
    /// Returns the exchange of a user message: a new one if the last one is answered.
    fn asking(&mut self) -> &mut Exchange {
        if self.all.last().is_none_or(|last| last.moss.is_some()) {
            self.begin();
        }
        self.counted()
    }

    /// Returns the exchange of an assistant message.
    fn answering(&mut self) -> &mut Exchange {
        if self.all.is_empty() {
            self.begin();
        }
        self.counted()
    }

    fn begin(&mut self) {
        let messages = std::mem::take(&mut self.skipped);
        self.all.push(Exchange {
            messages,
            ..Exchange::default()
        });
    }

    fn counted(&mut self) -> &mut Exchange {
        let last = self.all.len() - 1;
        self.all[last].messages += 1;
        &mut self.all[last]
    }

    fn skip(&mut self) {
        match self.all.last_mut() {
            Some(last) => last.messages += 1,
            None => self.skipped += 1,
        }
    }
}

/// Checks whether a message can have its field `moss`.
fn check_plugin_fields(
    model: &ServedModel,
    conversation: &Exchanges,
    role: Role,
    fields: Option<&PluginFields>,
) -> Result<(), Reason> {
    let Some(fields) = fields else { return Ok(()) };
    match role {
        _ if !model.has_plugins => Err(Reason::NoPlugins),
        Role::System | Role::User => Err(Reason::AssistantOnly),
        Role::Assistant
            if conversation
                .all
                .last()
                .is_some_and(|last| last.moss.is_some()) =>
        {
            Err(Reason::Continuation)
        }
        Role::Assistant if fields.results.is_some() && fields.commands.is_none() => {
            Err(Reason::NoCommands)
        }
        Role::Assistant => Ok(()),
    }
}

fn unsupported(index: usize, field: &str, reason: Reason) -> ApiError {
    ApiError::unsupported(format!("messages[{index}].{field}"), reason)
}

/// Returns true for text that is empty or only white space.
fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn append(place: &mut Option<String>, text: String) {
    match place {
        _ if is_blank(&text) => {}
        Some(before) => {
            before.push_str("\n\n");
            before.push_str(&text);
        }
        None => *place = Some(text),
    }
}
