//! From messages to a prompt.

use moss_text::{Plugin, PluginFields, Prompt, PromptBuilder, SystemText, Turn};

use super::truncation::oldest_to_drop;
use crate::{
    ServedModel,
    error::ApiError,
    wire::chat::{Message, Role},
};

/// What an answer goes on from.
pub(super) struct ChatPrompt {
    pub(super) builder: PromptBuilder,
    pub(super) prompt: Prompt,
    /// Messages that were left out because the conversation is longer than the context window.
    pub(super) dropped_messages: usize,
}

/// What the user said, and what was said to that.
#[derive(Default)]
struct Exchange {
    user: Option<String>,
    moss: Option<(String, Option<PluginFields>)>,
    /// Messages that it was put together of.
    messages: usize,
    /// The message that `moss` begins with.
    answered_by: usize,
}

/// A conversation in order.
#[derive(Default)]
struct Exchanges {
    instruction: Option<String>,
    all: Vec<Exchange>,
    /// Skipped messages in front of the first exchange.
    skipped: usize,
}

/// Puts messages together, by one rule:
///
/// 1. System messages at the beginning are the instruction, in place of the server's own. A later
///    one is read where it stands, as part of what the user says.
/// 2. Text that is empty or white space alone says nothing: such a system message leaves the
///    server's instruction in place, such an assistant message (a placeholder for the answer) is
///    skipped, and such a user message adds nothing to its neighbours.
/// 3. Neighbours of one side become one message, with an empty line between them.
/// 4. An answer in front of everything that the user says answers an empty message; so does the new
///    answer where nobody has said anything yet.
/// 5. If the assistant has the last word, the answer continues it.
///
/// `truncate_for` drops the oldest exchanges of a conversation that is longer than the context
/// window, with room for an answer of so many tokens.
///
/// # Errors
/// [`ApiError::Unsupported`] naming what stands beside a message that cannot have it.
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
        let (said, beside) = moss.unwrap_or_default();
        turns.push(Turn {
            user: user.unwrap_or_default(),
            reply: builder.past_reply(&said, beside.as_ref(), false)?,
        });
        counts.push(messages);
    }
    let user = last.user.unwrap_or_default();
    let (mut begun, mut continues) = (Vec::new(), false);
    if let Some((said, beside)) = last.moss {
        if said.is_empty()
            && beside
                .as_ref()
                .is_none_or(|beside| beside.results.is_none())
        {
            let expected = " here, expected words of the answer or `moss.results` to go on from";
            return Err(unsupported(last.answered_by, "role", expected));
        }
        begun = builder.past_reply(&said, beside.as_ref(), true)?;
        continues = !said.is_empty();
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

/// Exchanges of a conversation; see [`build`] for the rule.
fn arrange(model: &ServedModel, messages: Vec<Message>) -> Result<Exchanges, ApiError> {
    let mut conversation = Exchanges::default();
    for (
        index,
        Message {
            role,
            content,
            moss: beside,
            ..
        },
    ) in messages.into_iter().enumerate()
    {
        let text = content.into_text();
        let beside = beside.filter(|beside| model.has_plugins || !beside.is_empty());
        check_beside(model, &conversation, role, beside.as_ref())
            .map_err(|expected| unsupported(index, "moss", expected))?;
        match role {
            Role::System if conversation.all.is_empty() => {
                append(&mut conversation.instruction, text)
            }
            Role::System if is_blank(&text) => conversation.skip(),
            Role::System | Role::User => append(&mut conversation.asking().user, text),
            Role::Assistant if is_blank(&text) && beside.is_none() => conversation.skip(),
            Role::Assistant => {
                let exchange = conversation.answering();
                match &mut exchange.moss {
                    // What was said to results comes as a message of its own.
                    Some((said, _)) if said.is_empty() => *said = text,
                    Some((said, _)) => said.push_str(&format!("\n\n{text}")),
                    None => {
                        exchange.answered_by = index;
                        exchange.moss = Some((text, beside));
                    }
                }
            }
        }
    }
    Ok(conversation)
}

impl Exchanges {
    /// The exchange that words of the user belong to: a new one, if the last one is answered.
    fn asking(&mut self) -> &mut Exchange {
        if self.all.last().is_none_or(|last| last.moss.is_some()) {
            self.begin();
        }
        self.counted()
    }

    /// The exchange that words of the assistant belong to.
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

/// Why a message cannot have the field `moss` that it has.
fn check_beside(
    model: &ServedModel,
    conversation: &Exchanges,
    role: Role,
    beside: Option<&PluginFields>,
) -> Result<(), &'static str> {
    let Some(beside) = beside else { return Ok(()) };
    match role {
        _ if !model.has_plugins => Err(": the model was not trained with plugins"),
        Role::System | Role::User => Err(": it belongs to answers"),
        Role::Assistant
            if conversation
                .all
                .last()
                .is_some_and(|last| last.moss.is_some()) =>
        {
            Err(": this message goes on from another one")
        }
        Role::Assistant if beside.results.is_some() && beside.commands.is_none() => {
            Err(": `results` need `commands`")
        }
        Role::Assistant => Ok(()),
    }
}

fn unsupported(index: usize, field: &str, expected: &str) -> ApiError {
    ApiError::Unsupported {
        param: format!("messages[{index}].{field}"),
        expected: expected.to_owned(),
    }
}

/// Returns `true` for text that says nothing.
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
