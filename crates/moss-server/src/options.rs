//! Options of a server.

use std::time::Duration;

use moss_sampling::SamplingParams;

use crate::{ApiKeys, BuildInfo, Limits};

/// Generation settings for requests that do not set them.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Sampling parameters.
    pub sampling: SamplingParams,
    /// Maximum number of tokens of an answer.
    pub max_tokens: usize,
}

impl Default for Defaults {
    /// Returns the published chat settings, with the answer length of the published web demo.
    fn default() -> Self {
        Self {
            sampling: SamplingParams::CHAT,
            max_tokens: 512,
        }
    }
}

/// Options of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// Name of the model in the API.
    pub model: String,
    /// API keys for `/v1/…`, `/api/…`, `/metrics`, `/stats` and `POST /`. If empty, no key is
    /// needed.
    pub api_keys: ApiKeys,
    /// Accepted values of the header `Host`, without ports; `None` accepts all. A web page can make
    /// a browser call this machine with the page's host name (DNS rebinding), but not with one of
    /// these names.
    pub allowed_hosts: Option<Vec<String>>,
    /// Origins of other web pages that may call the API from a browser; `*` for all.
    pub cors_origins: Vec<String>,
    /// Generation settings for requests that do not set them.
    pub defaults: Defaults,
    /// Limits of what clients can request.
    pub limits: Limits,
    /// Time for running answers to finish after a stop is requested.
    pub drain_time: Duration,
    /// Time that the server reports a failed engine on `/health` and `/ready` before it stops.
    pub failure_time: Duration,
    /// Interval of keep-alive comments on a stream without events.
    pub keep_alive: Duration,
    /// Logs prompts and answers.
    pub log_prompts: bool,
    /// Rejects requests with unknown fields instead of ignoring these fields.
    pub strict: bool,
    /// The program, for `/metrics` and `/stats`.
    pub build: BuildInfo,
}

impl ServerOptions {
    /// Returns options for a server on this machine only: no key, hosts of the loopback interface.
    pub fn local(model: impl Into<String>) -> Self {
        let hosts = ["localhost", "127.0.0.1", "[::1]"]
            .map(String::from)
            .to_vec();
        Self {
            model: model.into(),
            api_keys: ApiKeys::default(),
            allowed_hosts: Some(hosts),
            cors_origins: Vec::new(),
            defaults: Defaults::default(),
            limits: Limits::default(),
            drain_time: Duration::from_secs(30),
            failure_time: Duration::from_secs(5),
            keep_alive: Duration::from_secs(10),
            log_prompts: false,
            strict: false,
            build: BuildInfo::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_same_defaults() {
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
