//! The JSON interface of SearXNG.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    CallContext, Endpoint, HttpFault, Passage, PluginError,
    http::{Client, Failure, Request},
};

/// The longest response. Those of SearXNG have tens of kilobytes.
const MAX_BYTES: u64 = 2 << 20;
/// The longest time of a search.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A SearXNG server.
#[derive(Debug, Clone)]
pub struct SearXng {
    client: Client,
}

#[derive(Deserialize)]
struct Response {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    title: Option<String>,
    url: Option<String>,
    content: Option<String>,
}

impl SearXng {
    /// Creates a client of a server. Its JSON format must be enabled (`search.formats` in
    /// settings.yml).
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            client: Client::new(endpoint),
        }
    }

    /// Returns the results of a query, best first.
    pub(super) fn search(
        &self,
        query: &str,
        context: &CallContext,
    ) -> Result<Vec<Passage>, PluginError> {
        let mut url = self.client.url("search");
        url.query_pairs_mut()
            .append_pair("q", query)
            .append_pair("format", "json");
        let request = Request {
            url,
            body: None,
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT.min(context.time_left()),
        };
        let body = self
            .client
            .send(request)
            .map_err(|failure| match failure.fault {
                HttpFault::Status(403) => Failure {
                    fault: HttpFault::NoJson,
                    ..failure
                },
                _ => failure,
            })?;
        let parsed: Result<Response, _> = serde_json::from_slice(&body);
        let response = parsed.map_err(|error| self.client.format_error("search", &error))?;
        Ok(response.results.into_iter().filter_map(passage).collect())
    }
}

/// Returns the passage of a result that has a text.
fn passage(item: Item) -> Option<Passage> {
    let title = item.title.unwrap_or_default();
    let content = item.content.unwrap_or_default();
    let text = if content.trim().is_empty() {
        title.clone()
    } else {
        content
    };
    (!text.trim().is_empty()).then(|| Passage {
        text,
        title,
        url: item.url.unwrap_or_default(),
    })
}
