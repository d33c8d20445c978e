//! `POST /`: MOSS's published API. It keeps conversations by their `uid`; this server limits their
//! number and time.

use axum::{Extension, Json, extract::State};
use moss_engine::Event;
use moss_text::{Prompt, PromptBuilder, Reply, SegmentKind, Step, TextError, Turn};
use serde::{Deserialize, Serialize};

use crate::{
    body::JsonBody,
    conversations::Conversation,
    error::ApiError,
    generation::{Admission, Generation},
    middleware::key::Owner,
    plan::Plan,
    reason::Expected,
    state::{Shared, now},
    wire::{
        answer::{Extra, Notes, reply_error},
        number::Count,
        shared,
    },
};

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    prompt: String,
    /// The conversation to continue. An unknown one starts a new conversation with a new name.
    uid: Option<String>,
    /// Maximum tokens of prompt and answer together.
    max_length: Option<Count>,
    top_p: Option<f32>,
    temperature: Option<f32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Answered {
    response: String,
    /// Every exchange so far: the user's message and the answer.
    history: Vec<(String, String)>,
    status: u16,
    time: String,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    moss: Option<Extra>,
}

impl Asked {
    /// Names of all known fields.
    pub(crate) const FIELDS: &'static [&'static str] =
        &["prompt", "uid", "max_length", "top_p", "temperature"];
}

pub(crate) async fn ask(
    State(state): State<Shared>,
    Extension(Owner(owner)): Extension<Owner>,
    JsonBody(asked, ignored): JsonBody<Asked>,
) -> Result<Json<Answered>, ApiError> {
    let model = state.model()?.clone();
    // A key continues only its conversations. Owners contain no space.
    let stored_as = |uid: &str| format!("{owner} {uid}");
    let known = asked
        .uid
        .and_then(|uid| Some((state.conversations.find(&stored_as(&uid))?, uid)));
    let (mut conversation, uid): (Conversation, String) = known.unwrap_or_default();
    let uid = if uid.is_empty() {
        uuid::Uuid::new_v4().to_string()
    } else {
        uid
    };
    let fields = shared::Shared {
        top_p: asked.top_p,
        temperature: asked.temperature,
        ..Default::default()
    };
    let mut plan = Plan::new(fields, &state.options)?;
    plan.owner = owner.clone();
    let window = model.engine.context_length();
    let longest = asked
        .max_length
        .map_or(window, |Count(longest)| longest)
        .min(window);
    let builder = model.prompts(None, &[])?;
    let prompt = {
        let (builder, turns, user) = (
            builder.clone(),
            conversation.turns.clone(),
            asked.prompt.clone(),
        );
        let built =
            tokio::task::spawn_blocking(move || fit(&builder, &turns, &user, longest, window));
        built.await.map_err(|_| ApiError::Internal)??
    };
    let dropped = prompt.dropped;
    conversation.turns.drain(..dropped);
    conversation.shown.drain(..dropped);
    plan.max_tokens = longest.saturating_sub(prompt.ids.len()).max(1);
    let (mut reply, run) = Reply::begin(&builder, model.eos(), prompt, Some(plan.max_tokens));
    let request = plan.request(run, 0);
    let mut generation = Generation::start(&state, &model, request, &Admission::default())?;
    let mut response = String::new();
    let outcome = loop {
        match generation.next().await? {
            Event::Text {
                id, kind, piece, ..
            } => {
                reply.push(id, kind, &piece);
                if kind == SegmentKind::Answer {
                    response.push_str(&piece);
                }
            }
            Event::Finished(outcome) => match reply.end(outcome) {
                Step::Run(run) => generation.follow_up(plan.request(run, 0))?,
                Step::Done | Step::NeedsResults { .. } => {
                    break reply.take_outcome().ok_or(ApiError::Internal)?;
                }
            },
            _ => {}
        }
    };
    // A plugin model that has not come to its answer shows what it has written so far.
    if response.is_empty() {
        response = outcome.text.trim_start().to_owned();
    }
    if let Some(error) = reply_error(std::iter::once((&outcome, response.as_str()))) {
        return Err(error);
    }
    conversation.turns.push(Turn {
        user: asked.prompt,
        reply: reply.ids().to_vec(),
    });
    conversation.shown.push(response.clone());
    let users = conversation.turns.iter().map(|turn| turn.user.clone());
    let history = users.zip(conversation.shown.iter().cloned()).collect();
    state.conversations.keep(stored_as(&uid), conversation);
    let moss = Notes {
        ignored,
        dropped_messages: 2 * dropped, // what the user said, and the answer
    }
    .unless_empty();
    Ok(Json(Answered {
        response,
        history,
        status: 200,
        time: clock(now()),
        uid,
        moss,
    }))
}

/// Returns a prompt of at most `longest` tokens, and drops the oldest turns for that.
///
/// # Errors
/// [`ApiError::OutOfRange`] naming `max_length` if it, and not the context length, leaves no room
/// for an answer; [`TextError::TurnTooLong`].
fn fit(
    builder: &PromptBuilder,
    turns: &[Turn],
    user: &str,
    longest: usize,
    window: usize,
) -> Result<Prompt, ApiError> {
    let layout = builder.layout(turns, user, &[])?;
    let dropped = match layout.fit(None, longest) {
        // The client accepts an answer of a few tokens.
        Err(TextError::TurnTooLong { found, .. }) if found < longest && longest < window => {
            turns.len()
        }
        Err(TextError::TurnTooLong { found, .. }) if found < window && longest < window => {
            let expected = Expected::MoreThanPrompt { tokens: found };
            return Err(ApiError::out_of_range("max_length", longest, expected));
        }
        dropped => dropped?,
    };
    Ok(layout.into_prompt(dropped)?)
}

/// Formats a time as `2023-04-21 12:00:00` in UTC. Days to dates as in Howard Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms".
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates_through_leap_years() {
        assert_eq!(clock(0), "1970-01-01 00:00:00");
        assert_eq!(clock(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(clock(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(clock(1_709_251_200), "2024-03-01 00:00:00");
    }
}
