//! Past replies as text, such as those in a request to the server.

use serde::Deserialize;

use crate::{EMPTY_PART, PromptBuilder, TextError, segments::results_segment};

/// The segments of a plugin model's reply, except its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)] // also for `[]`, as some languages write an empty object
pub struct PluginFields {
    /// The inner thoughts.
    pub thoughts: Option<String>,
    /// Calls to plugins.
    pub commands: Option<String>,
    /// The results of the calls.
    pub results: Option<String>,
    /// The sources of the results, as clients send them back; without effect.
    pub sources: Option<serde_json::Value>,
    /// The pictures of the results, as clients send them back; without effect.
    pub images: Option<serde_json::Value>,
}

impl PluginFields {
    /// Returns true if there is no text in any field.
    pub fn is_empty(&self) -> bool {
        let fields = [&self.thoughts, &self.commands, &self.results];
        fields
            .iter()
            .all(|field| field.as_ref().is_none_or(String::is_empty))
    }
}

impl PromptBuilder {
    /// Returns the ids of a past reply with the answer `said`: those that the model would have
    /// generated, and those of the results:
    ///
    /// ```text
    /// <|Inner Thoughts|>: …<eot>\n<|Commands|>: …<eoc>\n<|Results|>:\n…\n<eor>\n<|MOSS|>: …<eom>
    /// ```
    /// An unknown segment that a plugin model must have written is [`EMPTY_PART`]. A plugin model's
    /// reply without an answer ends after its commands, or at `<|MOSS|>:` if it has their results.
    /// With `is_open`, `<eom>` is left out, so that the model continues the answer.
    ///
    /// # Errors
    /// [`TextError::MissingSpecial`], [`TextError::Encode`].
    pub fn past_reply(
        &self,
        said: &str,
        fields: Option<&PluginFields>,
        is_open: bool,
    ) -> Result<Vec<u32>, TextError> {
        let special = self.tokenizer().special()?;
        let encode = |text: &str| self.tokenizer().encode_untrusted(text);
        let has_answered = fields.is_none() || !said.is_empty();
        let mut ids = Vec::new();
        if let (Some(_), Some(eot), Some(eoc), Some(eor)) =
            (self.plugins(), special.eot, special.eoc, special.eor)
        {
            let none = PluginFields::default();
            let PluginFields {
                thoughts,
                commands,
                results,
                ..
            } = fields.unwrap_or(&none);
            // The white space after a label is part of the label.
            let (thoughts, commands) = (
                thoughts.as_deref().map(str::trim_start),
                commands.as_deref().map(str::trim_start),
            );
            let segment =
                |label: &str, text: Option<&str>| format!("{label}{}", text.unwrap_or(EMPTY_PART));
            let parts = [
                (segment("<|Inner Thoughts|>: ", thoughts), eot),
                (segment("\n<|Commands|>: ", commands), eoc),
                (
                    results_segment(results.as_deref().unwrap_or(EMPTY_PART)),
                    eor,
                ),
            ];
            let is_known = [thoughts.is_some(), commands.is_some(), results.is_some()];
            let last = is_known.iter().rposition(|is_known| *is_known);
            let written = if has_answered {
                parts.len()
            } else {
                last.map_or(0, |last| last + 1)
            };
            for (text, end) in &parts[..written] {
                ids.extend(encode(text)?);
                ids.push(*end);
            }
            if written == parts.len() {
                ids.extend(encode("\n<|MOSS|>:")?);
            }
        }
        if has_answered {
            ids.extend(encode(&format!(" {}", said.trim_start()))?);
            if !is_open {
                ids.push(special.eom);
            }
        }
        Ok(ids)
    }
}
