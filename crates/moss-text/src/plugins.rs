//! The six plugin switches of the plugin models' meta instruction.

use serde::{Deserialize, Serialize};

use crate::TextError;

/// A plugin of the published plugin models.
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
    /// All plugins, in the order of the published meta instruction.
    pub const ALL: [Self; 6] = [
        Self::WebSearch,
        Self::Calculator,
        Self::EquationSolver,
        Self::TextToImage,
        Self::ImageEdition,
        Self::TextToSpeech,
    ];

    /// Returns the name in options and requests, such as `web-search`.
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

    /// Returns the name in the meta instruction, such as `Web search`.
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

    /// Returns the published API, if there is one.
    pub fn api(self) -> Option<&'static str> {
        match self {
            Self::WebSearch => Some("Search(query)"),
            Self::Calculator => Some("Calculate(expression)"),
            Self::EquationSolver => Some("Solve(equation)"),
            Self::TextToImage => Some("Text2Image(description)"),
            Self::ImageEdition | Self::TextToSpeech => None,
        }
    }

    /// Returns the name in the model's commands, such as `Search`, if there is a published API.
    pub fn function(self) -> Option<&'static str> {
        self.api()?.split('(').next()
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
                expected: Self::ALL.map(|plugin| plugin.name().to_owned()).into(),
            })
    }
}

/// The plugins that are enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginSwitches {
    enabled: Vec<Plugin>,
}

impl PluginSwitches {
    /// Enables plugins.
    ///
    /// # Errors
    /// [`TextError::NoPluginApi`] for a plugin whose API was never published.
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

    /// Returns the switches of a model by its name, all disabled; `None` for a model that was not
    /// trained with plugins.
    pub fn for_model(name: &str) -> Option<Self> {
        name.contains("-plugin").then(Self::default)
    }

    /// Returns `true` if `plugin` is enabled.
    pub fn is_enabled(&self, plugin: Plugin) -> bool {
        self.enabled.contains(&plugin)
    }

    /// Sets the switches in the published meta instruction, which are its last six lines. The line
    /// of a disabled plugin is unchanged.
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
