//! What a stranger can ask for at most.

use std::time::Duration;

/// Everything that comes from outside is bounded by one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body; more is a 413.
    pub body_bytes: usize,
    /// Bytes of a request's head; more is a 431.
    pub header_bytes: usize,
    /// Connections at once; one more waits to be accepted.
    pub connections: usize,
    /// Answers of one request: prompts times `n`.
    pub choices: usize,
    /// Messages of one chat request.
    pub messages: usize,
    /// Stop strings of a request.
    pub stop_strings: usize,
    /// Bytes of a stop string.
    pub stop_bytes: usize,
    /// Tokens of `logit_bias`.
    pub biases: usize,
    /// Likeliest tokens told with each token.
    pub top_logprobs: usize,
    /// From the first byte of a head to its last, and between two requests of a connection.
    pub header_time: Duration,
    /// From the head to the last byte of the body.
    pub body_time: Duration,
    /// From its arrival until a request runs; then it is a 503. `None` for [`Limits::QUEUE_TIME`],
    /// or longer where the measured speed of the model says that the requests ahead need longer.
    pub queue_time: Option<Duration>,
    /// From when a request runs until its first token; then it is a 503. `None` for a limit derived
    /// from the measured speed of the model, see [`moss_engine::PromptLimit::Measured`].
    pub prompt_time: Option<Duration>,
    /// Of an answer, from its first token; the most that a request may ask for.
    pub answer_time: Duration,
    /// That the other end may leave bytes unread.
    pub stall_time: Duration,
    /// Conversations that the published API keeps.
    pub conversations: usize,
    /// How long it keeps one that nobody goes on with.
    pub conversation_time: Duration,
}

impl Limits {
    /// Least limit of the queue where [`Limits::queue_time`] is `None`.
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
