//! JSON types of requests and responses.

pub(crate) mod answer;
pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod error;
pub(crate) mod neutral;
pub(crate) mod number;
pub(crate) mod shared;
pub(crate) mod tokens;

/// Defines a request for text: its fields, the common fields, and known fields without an effect.
/// Serde's `flatten` would be shorter, but would not report the path of an invalid value.
macro_rules! text_request {
    (
        $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
        without effect { $($inert:ident,)* }
    ) => {
        $crate::wire::text_request! {
            @all $(#[$doc])* $name {
                /// The name of the only model.
                model: Option<String>,
                stream: Option<bool>,
                stream_options: Option<$crate::wire::shared::StreamOptions>,
                temperature: Option<f32>,
                top_p: Option<f32>,
                top_k: Option<$crate::wire::number::Limit>,
                min_p: Option<f32>,
                repetition_penalty: Option<f32>,
                presence_penalty: Option<f32>,
                frequency_penalty: Option<f32>,
                logit_bias: Option<$crate::wire::shared::Biases>,
                seed: Option<$crate::wire::number::Seed>,
                stop: Option<$crate::wire::shared::Stop>,
                n: Option<$crate::wire::number::Count>,
                max_tokens: Option<$crate::wire::number::Limit>,
                prompt_cache_key: Option<String>,
                /// vLLM's name of `prompt_cache_key`.
                cache_salt: Option<String>,
                moss: Option<$crate::wire::shared::MossFields>,
                $($(#[$field_doc])* $field: $type,)*
            }
            // Accounting, caching and names in the client's system do not change an answer.
            without effect {
                user, metadata, store, service_tier, prompt_cache_retention, safety_identifier, $($inert,)*
            }
        }

        impl $name {
            /// Returns the common fields.
            pub(crate) fn shared(&self) -> $crate::wire::shared::Shared {
                $crate::wire::shared::Shared {
                    model: self.model.clone(),
                    stream: self.stream.unwrap_or(false),
                    stream_options: self.stream_options.clone(),
                    temperature: self.temperature,
                    top_p: self.top_p,
                    top_k: self.top_k,
                    min_p: self.min_p,
                    repetition_penalty: self.repetition_penalty,
                    presence_penalty: self.presence_penalty,
                    frequency_penalty: self.frequency_penalty,
                    logit_bias: self.logit_bias.clone().unwrap_or_default().0,
                    seed: self.seed,
                    stop: self.stop.clone(),
                    n: self.n,
                    max_tokens: self.max_tokens,
                    prompt_cache_key: self.prompt_cache_key.clone(),
                    cache_salt: self.cache_salt.clone(),
                    moss: self.moss.clone().unwrap_or_default(),
                }
            }
        }
    };
    (
        @all $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
        without effect { $($inert:ident,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Deserialize)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
            $(#[expect(dead_code, reason = "accepted, and without effect on the answer")] $inert: Option<serde_json::Value>,)*
        }

        impl $name {
            /// Names of all known fields.
            pub(crate) const FIELDS: &'static [&'static str] = &[$(stringify!($field),)* $(stringify!($inert),)*];
        }
    };
}
pub(crate) use text_request;
