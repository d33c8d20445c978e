//! The window rule: which turns still fit.

use crate::TextError;

/// An answer is given this part of the window at least, unless fewer tokens are asked for: 256 of
/// MOSS's 2048.
const ANSWER_SHARE: usize = 8;

/// How many of the oldest turns must go so that a prompt fits.
///
/// When the prompt and `min(max_new_tokens, 256)` more would pass `context_length`, the oldest
/// whole turns go until the prompt takes at most three quarters of the window: rarely, and then
/// enough, since every such cut costs a whole prefill. The instruction stays. `prompt_len(n)` is
/// the prompt's length without its `n` oldest turns, of which there are `turns`.
///
/// # Errors
/// [`TextError::TurnTooLong`] when the newest turn alone does not fit.
pub fn turns_to_drop(
    prompt_len: impl Fn(usize) -> Result<usize, TextError>,
    turns: usize,
    max_new_tokens: Option<usize>,
    context_length: usize,
) -> Result<usize, TextError> {
    let share = context_length / ANSWER_SHARE;
    let room = max_new_tokens.unwrap_or(share).min(share);
    let allowed = context_length.saturating_sub(room);
    if prompt_len(0)? <= allowed {
        return Ok(0);
    }
    for dropped in 1..=turns {
        if prompt_len(dropped)? <= (context_length / 4 * 3).min(allowed) {
            return Ok(dropped);
        }
    }
    let alone = prompt_len(turns)?;
    if alone <= allowed {
        Ok(turns)
    } else {
        Err(TextError::TurnTooLong {
            found: alone,
            allowed,
        })
    }
}
