//! What travels: requests as they may come, answers as they go.

pub(crate) mod answer;
pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod error;
pub(crate) mod shared;

/// A request for text: its own fields, and those that all such requests have. Serde's `flatten` would be shorter and would forget the
/// path of a bad value.
macro_rules! text_request {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// The model's name; there is one.
            pub(crate) model: Option<String>,
            $($(#[$field_doc])* pub(crate) $field: $type,)*
            pub(crate) stream: Option<bool>,
            pub(crate) stream_options: Option<$crate::wire::shared::StreamOptions>,
            pub(crate) temperature: Option<f32>,
            pub(crate) top_p: Option<f32>,
            pub(crate) top_k: Option<usize>,
            pub(crate) min_p: Option<f32>,
            pub(crate) repetition_penalty: Option<f32>,
            pub(crate) presence_penalty: Option<f32>,
            pub(crate) frequency_penalty: Option<f32>,
            pub(crate) logit_bias: Option<std::collections::BTreeMap<String, f32>>,
            pub(crate) seed: Option<i64>,
            pub(crate) stop: Option<$crate::wire::shared::Stop>,
            pub(crate) n: Option<usize>,
            pub(crate) max_tokens: Option<usize>,
            #[expect(dead_code, reason = "a name in the client's own system: nothing is done with it")]
            pub(crate) user: Option<String>,
            pub(crate) moss: Option<$crate::wire::shared::MossFields>,
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
                    logit_bias: self.logit_bias.clone().unwrap_or_default(),
                    seed: self.seed,
                    stop: self.stop.clone(),
                    n: self.n,
                    max_tokens: self.max_tokens,
                    moss: self.moss.clone().unwrap_or_default(),
                }
            }
        }
    };
}
pub(crate) use text_request;
