//! From messages to a prompt.

use moss_text::{Plugin, PromptBuilder, SegmentKind, SystemText, Turn};

use crate::{
    ServedModel,
    error::ApiError,
    wire::chat::{Beside, Message, Role},
};

/// What an answer goes on from.
pub(super) struct Prompt {
    pub(super) builder: PromptBuilder,
    pub(super) ids: Vec<u32>,
    /// What the model writes next.
    pub(super) next: SegmentKind,
}

/// The exchange that the messages are at.
#[derive(Default)]
struct Exchange {
    user: Option<String>,
    /// What was said to that, and beside it.
    moss: Option<(String, Option<Beside>)>,
}

/// Puts messages together. Neighbours of one role become one, with an empty line between them.
///
/// # Errors
/// [`ApiError::Unsupported`] naming a message that stands where none of its role can, or what stands beside one that cannot have it.
pub(super) fn build(
    model: &ServedModel,
    messages: Vec<Message>,
    plugins: &[Plugin],
) -> Result<Prompt, ApiError> {
    let unsupported = |index: usize, field: &str, expected: &str| ApiError::Unsupported {
        param: format!("messages[{index}].{field}"),
        expected: expected.to_owned(),
    };
    let (mut system, mut turns, mut now): (Option<String>, _, _) = (None, Vec::new(), Exchange::default());
    let count = messages.len();
    for (index, Message { role, content, moss: beside, .. }) in messages.into_iter().enumerate() {
        let text = content.into_text();
        if let Some(beside) = &beside {
            let fault = match role {
                _ if !model.has_plugins => Some(": the model was not trained with plugins"),
                Role::System | Role::User => Some(": it belongs to answers"),
                Role::Assistant if now.moss.is_some() => Some(": this message goes on from another one"),
                Role::Assistant if beside.results.is_some() && beside.commands.is_none() => {
                    Some(": `results` need `commands`")
                }
                Role::Assistant => None,
            };
            if let Some(expected) = fault {
                return Err(unsupported(index, "moss", expected));
            }
        }
        match role {
            Role::System if now.user.is_some() => {
                return Err(unsupported(index, "role", " here, expected `system` before all others alone"));
            }
            Role::System => append(&mut system, text),
            Role::User => {
                if let Exchange { user: Some(user), moss: Some((said, beside)) } = &now {
                    let reply = model.reply(said, beside.as_ref())?;
                    turns.push(Turn { user: user.clone(), reply });
                    now = Exchange::default();
                }
                append(&mut now.user, text);
            }
            Role::Assistant if now.user.is_none() => {
                return Err(unsupported(index, "role", " here, expected `user` first"));
            }
            Role::Assistant => {
                let is_last = index + 1 == count;
                let waits = text.is_empty() && beside.as_ref().is_some_and(|beside| beside.results.is_some());
                if is_last && !waits {
                    return Err(unsupported(index, "role", " here, expected `user` as the last one"));
                }
                match &mut now.moss {
                    // What was said to results comes as a message of its own.
                    Some((said, _)) if said.is_empty() => *said = text,
                    Some((said, _)) => said.push_str(&format!("\n\n{text}")),
                    None => now.moss = Some((text, beside)),
                }
            }
        }
    }
    let user =
        now.user.ok_or_else(|| ApiError::out_of_range("messages", "without a message of the user", "one"))?;
    let builder = model.prompts(system.map(SystemText::Custom), plugins)?;
    let mut ids = builder.prompt(&turns, &user)?;
    let mut next = if model.has_plugins { SegmentKind::Thoughts } else { SegmentKind::Answer };
    if let Some((said, beside)) = now.moss {
        ids.extend(model.reply(&said, beside.as_ref())?);
        next = SegmentKind::Answer;
    }
    Ok(Prompt { builder, ids, next })
}

fn append(place: &mut Option<String>, text: String) {
    match place {
        Some(before) => {
            before.push_str("\n\n");
            before.push_str(&text);
        }
        None => *place = Some(text),
    }
}
