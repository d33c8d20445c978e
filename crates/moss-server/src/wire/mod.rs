//! What travels: requests as they may come, answers as they go.

pub(crate) mod answer;
pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod error;
pub(crate) mod neutral;
pub(crate) mod number;
pub(crate) mod shared;

/// A request for text: its own fields, those that all such requests have, and those that are known
/// and have no effect. Serde's `flatten` would be shorter and would forget the path of a bad value.
macro_rules! text_request {
    (
        $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }
        without effect { $($inert:ident,)* }
    ) => {
        $crate::wire::text_request! {
            @all $(#[$doc])* $name {
                /// The model's name; there is one.
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
                moss: Option<$crate::wire::shared::MossFields>,
                $($(#[$field_doc])* $field: $type,)*
            }
            // Accounting, caching and names in the client's own system: no value of these changes
            // an answer.
            without effect {
                user, metadata, store, service_tier, prompt_cache_key, prompt_cache_retention, safety_identifier, $($inert,)*
            }
        }

        impl $name {
            /// The fields that all such requests have.
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
            /// Names of all fields that are known.
            pub(crate) const FIELDS: &'static [&'static str] = &[$(stringify!($field),)* $(stringify!($inert),)*];
        }
    };
}
pub(crate) use text_request;
