//! Pictures: an OpenAI-compatible endpoint for images.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{
    CallContext, Endpoint, Image, ImageType, Output, Plugin, PluginError, ResultKind,
    http::{Client, Request, is_allowed},
};

const PATH: &str = "images/generations";
/// The largest picture, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// The longest time of a picture.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The plugin `Text2Image(description)`.
#[derive(Debug, Clone)]
pub struct Text2Image {
    client: Client,
    model: Option<String>,
    size: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

/// A picture as base64, or its address.
#[derive(Deserialize)]
struct Item {
    b64_json: Option<String>,
    url: Option<String>,
}

impl Text2Image {
    /// Creates a client of an endpoint, such as `https://api.openai.com/v1`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            client: Client::new(endpoint),
            model: None,
            size: None,
        }
    }

    /// Sets the model; `None` for the default one of the server.
    #[must_use]
    pub fn with_model(self, model: Option<String>) -> Self {
        Self { model, ..self }
    }

    /// Sets the size, such as `512x512`; `None` for the default one of the server.
    #[must_use]
    pub fn with_size(self, size: Option<String>) -> Self {
        Self { size, ..self }
    }

    fn generate(&self, description: &str, context: &CallContext) -> Result<Vec<u8>, PluginError> {
        let mut body = json!({ "prompt": description, "n": 1 });
        let options = [("model", &self.model), ("size", &self.size)];
        for (name, value) in options {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        let response = self.client.send(Request {
            url: self.client.url(PATH),
            body: Some(body.to_string().into_bytes()),
            max_bytes: MAX_BYTES * 4 / 3 + (64 << 10), // as base64
            timeout: TIMEOUT.min(context.time_left()),
        })?;
        let wrong = |reason: &dyn std::fmt::Display| self.client.format_error(PATH, reason);
        let parsed: Result<Response, _> = serde_json::from_slice(&response);
        let parsed = parsed.map_err(|error| wrong(&error))?;
        let item = parsed.data.into_iter().next().ok_or(PluginError::Nothing)?;
        if let Some(text) = item.b64_json {
            return STANDARD.decode(text).map_err(|error| wrong(&error));
        }
        let url = item.url.ok_or(PluginError::Nothing)?;
        let url = Url::options()
            .base_url(Some(&self.client.url("")))
            .parse(&url);
        let url = url.map_err(|error| wrong(&error))?;
        if !is_allowed(&self.client.url(""), &url) {
            return Err(wrong(&url.scheme()));
        }
        Ok(self.client.send(Request {
            url,
            body: None,
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT.min(context.time_left()),
        })?)
    }
}

impl Plugin for Text2Image {
    fn name(&self) -> &str {
        "Text2Image"
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Image
    }

    fn call(&self, argument: &str, context: &CallContext) -> Result<Output, PluginError> {
        let bytes = self.generate(argument, context)?;
        let kind = ImageType::of(&bytes);
        let kind = kind.ok_or_else(|| self.client.format_error(PATH, &"not an image"))?;
        Ok(Output::Image(Image {
            description: argument.to_owned(),
            kind,
            bytes,
        }))
    }
}
