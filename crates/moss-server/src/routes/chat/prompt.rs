//! From messages to a prompt.

use moss_text::{Plugin, PromptBuilder, SystemText};

use crate::{
    ServedModel,
    error::ApiError,
    wire::chat::{Message, Role},
};

/// A builder with the conversation's own system text, and the ids that the model goes on from. Neighbours of one role are put together
/// with an empty line between them.
///
/// # Errors
/// [`ApiError::Unsupported`] naming a message that stands where none of its role can.
pub(super) fn build(
    model: &ServedModel,
    messages: Vec<Message>,
    plugins: &[Plugin],
) -> Result<(PromptBuilder, Vec<u32>), ApiError> {
    let unsupported = |index: usize, expected: &str| ApiError::Unsupported {
        param: format!("messages[{index}].role"),
        expected: format!(" here, expected {expected}"),
    };
    let (mut system, mut turns, mut user): (Option<String>, _, Option<String>) = (None, Vec::new(), None);
    let mut moss: Option<String> = None;
    let count = messages.len();
    for (index, Message { role, content, .. }) in messages.into_iter().enumerate() {
        let text = content.into_text();
        match role {
            Role::System if user.is_some() => {
                return Err(unsupported(index, "`system` before all others alone"));
            }
            Role::System => append(&mut system, text),
            Role::User => {
                if let (Some(said), Some(answered)) = (user.clone(), moss.take()) {
                    turns.push(model.turn(said, answered)?);
                    user = None;
                }
                append(&mut user, text);
            }
            Role::Assistant if user.is_none() => return Err(unsupported(index, "`user` first")),
            Role::Assistant if index + 1 == count => {
                return Err(unsupported(index, "`user` as the last one"));
            }
            Role::Assistant => append(&mut moss, text),
        }
    }
    let user =
        user.ok_or_else(|| ApiError::out_of_range("messages", "without a message of the user", "one"))?;
    let builder = model.prompts(system.map(SystemText::Custom), plugins)?;
    let ids = builder.prompt(&turns, &user)?;
    Ok((builder, ids))
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
