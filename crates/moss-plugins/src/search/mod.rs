//! Search: the results of a SearXNG server, or of a program of the user.

#[cfg(feature = "http")]
mod searxng;

#[cfg(feature = "http")]
pub use self::searxng::SearXng;
use crate::{CallContext, Output, Passage, Plugin, PluginError, Program, ResultKind};

/// A source of search results.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SearchBackend {
    /// A SearXNG server.
    #[cfg(feature = "http")]
    SearXng(SearXng),
    /// A program that reads the query on stdin and writes one result per line, best first. The
    /// address and the title of its page may follow in the line, after tabs.
    Program(Program),
}

/// The plugin `Search(query)`.
#[derive(Debug, Clone)]
pub struct Search {
    backend: SearchBackend,
}

impl Search {
    /// Creates a search.
    pub fn new(backend: SearchBackend) -> Self {
        Self { backend }
    }
}

impl Plugin for Search {
    fn name(&self) -> &str {
        "Search"
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Passages
    }

    fn call(&self, argument: &str, context: &CallContext) -> Result<Output, PluginError> {
        Ok(Output::Passages(match &self.backend {
            #[cfg(feature = "http")]
            SearchBackend::SearXng(server) => server.search(argument, context)?,
            SearchBackend::Program(program) => {
                let query = argument.replace(['\n', '\r'], " ");
                let lines = program.run(&query, context)?;
                lines.iter().map(|line| passage(line)).collect()
            }
        }))
    }
}

/// Reads a line of a program.
fn passage(line: &str) -> Passage {
    let mut parts = line.split('\t').map(|part| part.trim().to_owned());
    let mut next = || parts.next().unwrap_or_default();
    Passage {
        text: next(),
        url: next(),
        title: next(),
    }
}
