//! The choice of turns that fit the context length.

use crate::TextError;

/// The share of the context length that is kept for the reply, as a divisor: 256 of MOSS's 2048
/// tokens.
const REPLY_SHARE: usize = 8;

/// Returns the number of oldest turns to drop so that a prompt fits.
///
/// If the prompt and `min(max_new_tokens, 256)` more tokens exceed `context_length`, the oldest
/// turns are dropped until the prompt has at most three quarters of the context length. Dropping
/// several turns at once is cheaper, because the whole prompt must be prefilled again each time.
/// The system prompt is kept. `prompt_len(n)` is the length of the prompt without its `n` oldest
/// turns of `turns`.
///
/// # Errors
/// [`TextError::TurnTooLong`] if the newest turn alone does not fit.
pub fn turns_to_drop(
    prompt_len: impl Fn(usize) -> Result<usize, TextError>,
    turns: usize,
    max_new_tokens: Option<usize>,
    context_length: usize,
) -> Result<usize, TextError> {
    let share = context_length / REPLY_SHARE;
    let reserved = max_new_tokens.unwrap_or(share).min(share);
    let allowed = context_length.saturating_sub(reserved);
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
