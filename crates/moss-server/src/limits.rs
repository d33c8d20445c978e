//! Limits of what clients can request.

use std::time::Duration;

/// Limits of requests and connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body; a larger body gets status 413.
    pub body_bytes: usize,
    /// Bytes of a request's head; a larger head gets status 431.
    pub header_bytes: usize,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Answers per request: prompts times `n`.
    pub choices: usize,
    /// Messages per chat request.
    pub messages: usize,
    /// Stop strings per request.
    pub stop_strings: usize,
    /// Bytes per stop string.
    pub stop_bytes: usize,
    /// Tokens in `logit_bias`.
    pub biases: usize,
    /// Bytes of `prompt_cache_key` and `cache_salt` each.
    pub cache_key_bytes: usize,
    /// Most likely tokens reported with each token.
    pub top_logprobs: usize,
    /// Time from the first to the last byte of a head, and between two requests of a connection.
    pub header_time: Duration,
    /// Time from the head to the last byte of the body.
    pub body_time: Duration,
    /// Time of a request in the queue; then it gets status 503. `None` for [`Limits::QUEUE_TIME`],
    /// or longer if the requests before it need longer at the measured speed of the model.
    pub queue_time: Option<Duration>,
    /// Time from the start of prefill to the first token; then the request gets status 503. `None`
    /// for a limit derived from the measured speed, see [`moss_engine::PromptLimit::Measured`].
    pub prompt_time: Option<Duration>,
    /// Time of an answer from its first token. It is also the maximum that a request can set.
    pub answer_time: Duration,
    /// Time that a client may leave sent bytes unread.
    pub stall_time: Duration,
    /// Conversations kept by the published API.
    pub conversations: usize,
    /// Time after which the published API removes an unused conversation.
    pub conversation_time: Duration,
}

impl Limits {
    /// Minimum time in the queue if [`Limits::queue_time`] is `None`.
    pub const QUEUE_TIME: Duration = Duration::from_secs(120);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            header_bytes: 16 << 10,
            connections: 1024,
            choices: 8,
            messages: 512,
            stop_strings: 16,
            stop_bytes: 256,
            biases: 1024,
            cache_key_bytes: 256,
            top_logprobs: 20,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(30),
            queue_time: None,
            prompt_time: None,
            answer_time: Duration::from_secs(600),
            stall_time: Duration::from_secs(60),
            conversations: 1024,
            conversation_time: Duration::from_secs(3600),
        }
    }
}
