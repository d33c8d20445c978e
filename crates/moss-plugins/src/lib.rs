//! Plugins of plugin models: the commands that a model writes to the results that it was trained
//! on.
//!
//! ```
//! use moss_plugins::{Calculate, Cancellation, Plugins, Solve};
//! let plugins = Plugins::default().with(Calculate).with(Solve);
//! let results = plugins.run(r#"Calculate("60/6"), Solve("x/3=4")"#, &Cancellation::default());
//! assert_eq!(results.text, "Calculate(\"60/6\") => '10.0'\nSolve(\"x/3=4\") =>\nx = 12");
//! ```
//!
//! [`parse_calls`] reads the text of the commands segment, [`Plugins`] runs the calls in parallel,
//! and [`Results::text`] is the text of the results segment. [`Plugin`] is a trait object:
//! [`Calculate`] and [`Solve`] compute in this process, `Search` and `Text2Image` (feature `http`)
//! use servers of the user, and [`CommandPlugin`] runs a program of the user.
//!
//! Nothing is contacted and nothing is run unless it was configured. Arguments come from a model,
//! and results from strangers: sizes, times, redirects and addresses are limited.
//!
//! This crate does not depend on the engine.

mod calculate;
mod citations;
mod command;
mod error;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod image;
mod plugin;
mod program;
mod registry;
mod results;
mod search;
mod solve;

pub use calculate::{Calculate, ExpressionError};
pub use citations::Citations;
pub use command::{Call, parse_calls};
#[cfg(feature = "http")]
pub use error::{AddressFault, HttpFault};
pub use error::{PluginError, ProgramFault};
#[cfg(feature = "http")]
pub use http::Endpoint;
#[cfg(feature = "http")]
pub use image::Text2Image;
pub use plugin::{
    CallContext, Cancellation, Image, ImageType, Output, Passage, Plugin, ResultKind,
};
pub use program::{CommandPlugin, Program};
pub use registry::Plugins;
pub use results::{CallReport, NO_RESULT, Results, Source};
#[cfg(feature = "http")]
pub use search::SearXng;
pub use search::{Search, SearchBackend};
pub use solve::{EquationError, Solve};

/// Entry points of the fuzz targets.
#[doc(hidden)]
pub mod fuzzing {
    use std::time::{Duration, Instant};

    /// No text may take longer. A debug build with sanitizers is about 50 times slower than a
    /// release build.
    const LIMIT: Duration = Duration::from_secs(5);

    fn timed(run: impl FnOnce()) {
        let start = Instant::now();
        run();
        assert!(start.elapsed() < LIMIT, "took {:?}", start.elapsed());
    }

    /// Evaluates an expression.
    pub fn expression(text: &str) {
        timed(|| drop(crate::Calculate::evaluate(text)));
    }

    /// Solves equations.
    pub fn equations(text: &str) {
        timed(|| drop(crate::Solve::solutions(text)));
    }

    /// Reads the calls of a commands segment.
    pub fn commands(text: &str) {
        for call in crate::parse_calls(text) {
            assert!(text.contains(&call.text));
        }
    }
}
