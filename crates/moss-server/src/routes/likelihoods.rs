//! Likelihoods of an answer's tokens.

use moss_engine::TokenLogprobs;
use moss_text::{AlignedToken, Tokenizer};

use crate::wire::answer::{ChatLogprob, TokenLogprob};

/// A token of the content: its id, and how likely it and others were.
pub(super) type LikelyToken = AlignedToken<(u32, Box<TokenLogprobs>)>;

/// A token of the content in the form of OpenAI's API. Its text is its share of the content: it may
/// complete a character, lose white space at the beginning, or be cut off by a stop string. The
/// other likely tokens are given as they are.
pub(super) fn likelihood(tokenizer: &Tokenizer, token: LikelyToken) -> ChatLogprob {
    // JSON has no -inf; this is what OpenAI's API says of tokens that are out of the question.
    let finite = |logprob: f32| logprob.max(-9999.0);
    let LikelyToken {
        value: (id, likely),
        text,
        bytes,
    } = token;
    let token = TokenLogprob {
        token: text,
        logprob: finite(likely.logprob),
        bytes,
    };
    let other = |&(other, logprob): &(u32, f32)| {
        if other == id {
            return token.clone();
        }
        let bytes = tokenizer.token_bytes(other).to_vec();
        let token = String::from_utf8_lossy(&bytes).into_owned();
        TokenLogprob {
            token,
            logprob: finite(logprob),
            bytes,
        }
    };
    ChatLogprob {
        top_logprobs: likely.top.iter().map(other).collect(),
        token,
    }
}
