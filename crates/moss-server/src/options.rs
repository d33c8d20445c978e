//! How a server behaves, decided by whoever starts it.

use std::time::Duration;

use moss_sampling::SamplingParams;

use crate::Limits;

/// How answers are made where a request does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Tokens of an answer.
    pub max_tokens: usize,
}

impl Default for Defaults {
    /// The published chat settings, and the published web demo's length.
    fn default() -> Self {
        Self {
            sampling: SamplingParams::CHAT,
            max_tokens: 512,
        }
    }
}

/// How a server behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// The name that the model goes by in the API.
    pub model: String,
    /// Any of these opens `/v1/…`, `/api/…`, `/metrics` and `POST /`; none for an open door.
    pub api_keys: Vec<String>,
    /// Values of the header `Host` that are answered, without ports; none for all. A page on the
    /// Internet can make a browser call this machine by a name of its own (DNS rebinding), but not
    /// by one of these.
    pub allowed_hosts: Option<Vec<String>>,
    /// Origins of other web pages that may call the API from a browser; `*` for all.
    pub cors_origins: Vec<String>,
    /// How answers are made where a request does not say.
    pub defaults: Defaults,
    /// What a stranger can ask for at most.
    pub limits: Limits,
    /// How long running answers may take once the server is told to stop.
    pub drain_time: Duration,
    /// How long a server whose engine has failed goes on telling so on `/health` and `/ready`
    /// before it stops.
    pub failure_time: Duration,
    /// Between two signs of life on a stream that has nothing to say.
    pub keep_alive: Duration,
    /// Prompts and answers are logged.
    pub log_prompts: bool,
    /// Rejects requests with unknown fields instead of ignoring these fields.
    pub strict: bool,
}

impl ServerOptions {
    /// For a model of that name on this machine alone: no key, hosts of the loopback interface.
    pub fn local(model: impl Into<String>) -> Self {
        let hosts = ["localhost", "127.0.0.1", "[::1]"]
            .map(String::from)
            .to_vec();
        Self {
            model: model.into(),
            api_keys: Vec::new(),
            allowed_hosts: Some(hosts),
            cors_origins: Vec::new(),
            defaults: Defaults::default(),
            limits: Limits::default(),
            drain_time: Duration::from_secs(30),
            failure_time: Duration::from_secs(5),
            keep_alive: Duration::from_secs(10),
            log_prompts: false,
            strict: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_the_same_defaults_before_a_model_is_loaded() {
        let page = include_str!("../assets/js/sampling.js");
        let value = |name: &str| -> Option<f32> {
            let line = page
                .lines()
                .find(|line| line.contains(&format!("\"{name}\"")))?;
            let (_, value) = line.split_once(" value: ")?;
            value.split(',').next()?.parse().ok()
        };
        let Defaults {
            sampling,
            max_tokens,
        } = Defaults::default();
        assert_eq!(value("temperature"), Some(sampling.temperature));
        assert_eq!(
            value("repetition_penalty"),
            Some(sampling.repetition_penalty)
        );
        assert_eq!(value("top_p"), Some(sampling.top_p));
        assert_eq!(value("max_tokens"), Some(max_tokens as f32));
    }
}
