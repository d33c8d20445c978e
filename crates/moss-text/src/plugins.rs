//! The six plugin switches of the plugin models' instruction.

use serde::{Deserialize, Serialize};

use crate::TextError;

/// A tool that a plugin model may have been told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Plugin {
    WebSearch,
    Calculator,
    EquationSolver,
    TextToImage,
    ImageEdition,
    TextToSpeech,
}

impl Plugin {
    /// In the order of the published instruction.
    pub const ALL: [Self; 6] = [
        Self::WebSearch,
        Self::Calculator,
        Self::EquationSolver,
        Self::TextToImage,
        Self::ImageEdition,
        Self::TextToSpeech,
    ];

    /// The name to type: `web-search`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSearch => "web-search",
            Self::Calculator => "calculator",
            Self::EquationSolver => "equation-solver",
            Self::TextToImage => "text-to-image",
            Self::ImageEdition => "image-edition",
            Self::TextToSpeech => "text-to-speech",
        }
    }

    /// The name in the instruction: `Web search`.
    fn title(self) -> &'static str {
        match self {
            Self::WebSearch => "Web search",
            Self::Calculator => "Calculator",
            Self::EquationSolver => "Equation solver",
            Self::TextToImage => "Text-to-image",
            Self::ImageEdition => "Image edition",
            Self::TextToSpeech => "Text-to-speech",
        }
    }

    /// The call as published, for those that have one.
    pub fn api(self) -> Option<&'static str> {
        match self {
            Self::WebSearch => Some("Search(query)"),
            Self::Calculator => Some("Calculate(expression)"),
            Self::EquationSolver => Some("Solve(equation)"),
            Self::TextToImage => Some("Text2Image(description)"),
            Self::ImageEdition | Self::TextToSpeech => None,
        }
    }
}

impl std::str::FromStr for Plugin {
    type Err = TextError;

    fn from_str(name: &str) -> Result<Self, TextError> {
        Self::ALL
            .into_iter()
            .find(|plugin| plugin.name() == name)
            .ok_or_else(|| TextError::UnknownPlugin {
                found: name.to_owned(),
                expected: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// Which plugins are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginSwitches {
    enabled: Vec<Plugin>,
}

impl PluginSwitches {
    /// # Errors
    /// [`TextError::NoPluginApi`] for a plugin whose call was never published.
    pub fn new(enabled: impl IntoIterator<Item = Plugin>) -> Result<Self, TextError> {
        let mut switches = Self::default();
        for plugin in enabled {
            if plugin.api().is_none() {
                return Err(TextError::NoPluginApi {
                    plugin: plugin.name(),
                });
            }
            if !switches.enabled.contains(&plugin) {
                switches.enabled.push(plugin);
            }
        }
        Ok(switches)
    }

    /// Returns the switches of a model by its name, all off; `None` for a model that was not
    /// trained with plugins.
    pub fn for_model(name: &str) -> Option<Self> {
        name.contains("-plugin").then(Self::default)
    }

    /// Whether `plugin` is on.
    pub fn is_enabled(&self, plugin: Plugin) -> bool {
        self.enabled.contains(&plugin)
    }

    /// Puts the switches into the published instruction, whose last six lines they are. A line
    /// whose switch is off keeps its published bytes.
    pub(crate) fn apply(&self, instruction: &str) -> String {
        let mut text = String::with_capacity(instruction.len() + 128);
        for line in instruction.split_inclusive('\n') {
            let on = self
                .enabled
                .iter()
                .find(|plugin| line.starts_with(&format!("- {}:", plugin.title())));
            match on.and_then(|plugin| Some((plugin.title(), plugin.api()?))) {
                Some((title, api)) => text.push_str(&format!("- {title}: enabled. API: {api}\n")),
                None => text.push_str(line),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_models_are_known_by_their_name() {
        let switches = |name| PluginSwitches::for_model(name);
        assert_eq!(
            switches("moss-moon-003-sft-plugin-int4"),
            Some(PluginSwitches::default())
        );
        assert_eq!(switches("moss-moon-003-sft"), None);
    }
}
