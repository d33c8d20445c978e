//! Checks a request's fields and completes them with the server's defaults.

use std::{sync::Arc, time::Duration};

use moss_engine::{PromptLimit, Request};
use moss_sampling::SamplingParams;
use moss_text::NextRun;

use crate::{
    Limits, ServerOptions,
    error::ApiError,
    reason::{Expected, Reason},
    wire::{
        number::{Count, Limit, Seed},
        shared::Shared,
    },
};

/// The parameters of all answers of a request.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sampling: SamplingParams,
    pub(crate) max_tokens: usize,
    pub(crate) stop_strings: Vec<String>,
    pub(crate) time_limit: Duration,
    pub(crate) prompt_limit: PromptLimit,
    /// Answers per prompt.
    pub(crate) n: usize,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Reports the log probability of each token and of this many most likely tokens.
    pub(crate) logprobs: Option<usize>,
    /// The owner of the request's API key; empty without one.
    pub(crate) owner: Arc<str>,
    /// Restricts the sharing of cached prefixes.
    pub(crate) cache_key: Option<Arc<str>>,
}

impl Plan {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`ApiError::OutOfRange`] naming the field, [`ApiError::NoModel`], [`ApiError::Unsupported`].
    pub(crate) fn new(fields: Shared, options: &ServerOptions) -> Result<Self, ApiError> {
        let (limits, defaults) = (&options.limits, &options.defaults);
        check_model(fields.model.as_deref(), options)?;
        let include_usage = fields
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false);
        if include_usage && !fields.stream {
            let reason = Reason::Needs("stream");
            return Err(ApiError::unsupported("stream_options", reason));
        }
        let mut sampling = defaults.sampling.clone();
        within(
            "temperature",
            fields.temperature,
            0.0,
            2.0,
            &mut sampling.temperature,
        )?;
        within("top_p", fields.top_p, 0.0, 1.0, &mut sampling.top_p)?;
        within("min_p", fields.min_p, 0.0, 1.0, &mut sampling.min_p)?;
        within(
            "repetition_penalty",
            fields.repetition_penalty,
            0.1,
            10.0,
            &mut sampling.repetition_penalty,
        )?;
        within(
            "presence_penalty",
            fields.presence_penalty,
            -2.0,
            2.0,
            &mut sampling.presence_penalty,
        )?;
        within(
            "frequency_penalty",
            fields.frequency_penalty,
            -2.0,
            2.0,
            &mut sampling.frequency_penalty,
        )?;
        if let Some(Limit(top_k)) = fields.top_k {
            sampling.top_k = top_k.filter(|k| *k > 0);
        }
        let count = fields.logit_bias.len();
        at_most("logit_bias", count, 0, limits.biases, "tokens")?;
        for (id, bias) in fields.logit_bias {
            let param = format!("logit_bias.{id}");
            let mut checked = 0.0;
            within(&param, Some(bias), -100.0, 100.0, &mut checked)?;
            let id = id
                .parse()
                .map_err(|_| ApiError::out_of_range(&param, "not a number", Expected::TokenId))?;
            sampling.logit_bias.push((id, checked));
        }
        sampling.seed = fields.seed.map(|Seed(seed)| seed).or(sampling.seed);
        let Count(n) = fields.n.unwrap_or(Count(1));
        at_most("n", n, 1, limits.choices, "answers")?;
        // Without a limit, the context length ends the answer.
        let max_tokens = fields
            .max_tokens
            .map_or(defaults.max_tokens, |Limit(limit)| {
                limit.unwrap_or(usize::MAX)
            });
        at_most("max_tokens", max_tokens, 1, usize::MAX, "tokens")?;
        Ok(Self {
            sampling,
            max_tokens,
            stop_strings: stop_strings(fields.stop.map(|stop| stop.into_strings()), limits)?,
            time_limit: time_limit(fields.moss.max_time_s, limits)?,
            prompt_limit: limits
                .prompt_time
                .map_or(PromptLimit::Measured, PromptLimit::Fixed),
            n,
            stream: fields.stream,
            include_usage,
            logprobs: None,
            owner: Arc::default(),
            cache_key: cache_key(fields.prompt_cache_key, fields.cache_salt, limits)?,
        })
    }

    /// Returns the engine's request for a run of answer `index` to a prompt.
    pub(crate) fn request(&self, run: NextRun, index: usize) -> Request {
        let mut sampling = self.sampling.clone();
        sampling.seed = sampling.seed.map(|seed| seed.wrapping_add(index as u64));
        let mut request = Request::of(run, sampling);
        request.stop.stop_strings = self.stop_strings.clone();
        request.stop.time_limit = Some(self.time_limit);
        request.stop.prompt_limit = Some(self.prompt_limit);
        request.logprobs = self.logprobs;
        request.align = self.logprobs.is_some();
        request.owner = self.owner.clone();
        request.cache_key = self.cache_key.clone();
        request
    }
}

fn within(
    param: &str,
    found: Option<f32>,
    least: f32,
    most: f32,
    place: &mut f32,
) -> Result<(), ApiError> {
    let Some(found) = found else { return Ok(()) };
    if !(least..=most).contains(&found) {
        return Err(ApiError::out_of_range(
            param,
            found,
            Expected::Range { least, most },
        ));
    }
    *place = found;
    Ok(())
}

/// Checks the range of a count.
pub(crate) fn at_most(
    param: &str,
    found: usize,
    least: usize,
    most: usize,
    what: &'static str,
) -> Result<(), ApiError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let expected = match most {
        usize::MAX => Expected::AtLeast { least, what },
        _ => Expected::Count { least, most, what },
    };
    Err(ApiError::out_of_range(param, found, expected))
}

fn stop_strings(strings: Option<Vec<String>>, limits: &Limits) -> Result<Vec<String>, ApiError> {
    let strings = strings.unwrap_or_default();
    at_most("stop", strings.len(), 0, limits.stop_strings, "strings")?;
    for string in &strings {
        at_most("stop", string.len(), 1, limits.stop_bytes, "bytes each")?;
    }
    Ok(strings)
}

fn time_limit(seconds: Option<f64>, limits: &Limits) -> Result<Duration, ApiError> {
    let Some(seconds) = seconds else {
        return Ok(limits.answer_time);
    };
    let most = limits.answer_time.as_secs_f64();
    if !(seconds > 0.0 && seconds <= most) {
        return Err(ApiError::out_of_range(
            "moss.max_time_s",
            seconds,
            Expected::Seconds { most },
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Returns the key of cached prefixes. OpenAI's name of the field is `prompt_cache_key`, vLLM's is
/// `cache_salt`; with both, prefixes are shared only if both are equal. An empty salt is an error,
/// because a request that expects to be isolated would not be.
fn cache_key(
    key: Option<String>,
    salt: Option<String>,
    limits: &Limits,
) -> Result<Option<Arc<str>>, ApiError> {
    let most = limits.cache_key_bytes;
    let length = |text: &Option<String>| text.as_ref().map(String::len);
    at_most(
        "prompt_cache_key",
        length(&key).unwrap_or(0),
        0,
        most,
        "bytes",
    )?;
    at_most("cache_salt", length(&salt).unwrap_or(1), 1, most, "bytes")?;
    let key = key.filter(|key| !key.is_empty());
    Ok(match (key, salt) {
        (None, None) => None,
        (Some(only), None) | (None, Some(only)) => Some(only.into()),
        // The length makes the pair unambiguous.
        (Some(key), Some(salt)) => Some(format!("{}:{key}{salt}", key.len()).into()),
    })
}

/// Checks the name of the model, if the request has one.
///
/// # Errors
/// [`ApiError::NoModel`].
pub(crate) fn check_model(found: Option<&str>, options: &ServerOptions) -> Result<(), ApiError> {
    match found.filter(|found| !found.is_empty() && *found != options.model) {
        None => Ok(()),
        Some(found) => Err(ApiError::NoModel {
            found: found.to_owned(),
            expected: options.model.clone(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_key_and_a_salt_restrict_together_and_have_a_length() {
        let limits = Limits::default();
        let of = |key: Option<&str>, salt: Option<&str>| {
            cache_key(key.map(str::to_owned), salt.map(str::to_owned), &limits)
        };
        let key = |key, salt| of(key, salt).unwrap();
        assert_eq!(key(None, None), None);
        assert_eq!(key(Some(""), None), None);
        assert_eq!(key(Some("a"), None).as_deref(), Some("a"));
        assert_ne!(key(Some("a"), Some("bc")), key(Some("ab"), Some("c")));
        assert_ne!(key(Some("a"), Some("b")), key(Some("a"), None));
        let (long, longer) = ("k".repeat(256), "k".repeat(257));
        assert!(of(Some(&long), Some(&long)).is_ok());
        assert!(of(Some(&longer), None).is_err() && of(None, Some(&longer)).is_err());
        assert!(of(None, Some("")).is_err());
    }
}
