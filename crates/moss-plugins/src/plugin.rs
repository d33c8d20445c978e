//! The trait of plugins, and what they return.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::PluginError;

/// The form of a plugin's results in the results segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// `Name("…") => 'value'`.
    Value,
    /// `Name("…") =>`, and lines after it.
    Lines,
    /// `Name("…") =>`, and numbered lines `<|1|>: '…'` after it.
    Passages,
    /// `Image generated successfully.`
    Image,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// A short text.
    Value(String),
    /// Lines.
    Lines(Vec<String>),
    /// Passages that the answer may cite.
    Passages(Vec<Passage>),
    /// A picture.
    Image(Image),
}

/// A search result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// The text that the model reads.
    pub text: String,
    /// The title of its page; empty if unknown.
    pub title: String,
    /// The address of its page; empty if unknown.
    pub url: String,
}

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Its description.
    pub description: String,
    /// The file format.
    pub kind: ImageType,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Returns the picture as a `data:` URL.
    pub fn data_url(&self) -> String {
        let data = STANDARD.encode(&self.bytes);
        format!("data:{};base64,{data}", self.kind.media_type())
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            description,
            kind,
            bytes,
        } = self;
        write!(f, "Image({description:?}, {kind:?}, {} bytes)", bytes.len())
    }
}

/// The format of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ImageType {
    Png,
    Jpeg,
    Webp,
}

impl ImageType {
    /// Returns the format by the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::Webp),
            _ => None,
        }
    }

    /// Returns the extension of file names, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// Returns the media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// Cancels calls from another thread. Clones cancel the same calls.
#[derive(Clone, Default)]
pub struct Cancellation(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_cancelled: AtomicBool,
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation")
            .field(&self.is_cancelled())
            .finish()
    }
}

impl Cancellation {
    /// Keeps `guard` until the last call has ended. An abandoned call may run for some time.
    pub fn holding(guard: impl Any + Send + Sync) -> Self {
        Self(Arc::new(Shared {
            is_cancelled: AtomicBool::new(false),
            _guard: Some(Box::new(guard)),
        }))
    }

    /// Cancels the calls.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns true after [`Cancellation::cancel`].
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::Relaxed)
    }
}

/// The longest time of a call.
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The limits of a call.
#[derive(Debug, Clone)]
pub struct CallContext {
    deadline: Instant,
    cancellation: Cancellation,
}

impl CallContext {
    /// Creates the limits of a call that begins now.
    pub fn new(time: Duration, cancellation: Cancellation) -> Self {
        Self {
            deadline: Instant::now() + time.min(MAX_TIME),
            cancellation,
        }
    }

    /// Returns the time that is left.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Returns true if the call is cancelled or out of time, so that its result is not used.
    pub fn is_over(&self) -> bool {
        self.cancellation.is_cancelled() || self.time_left().is_zero()
    }
}

/// A plugin. Each call runs in a separate thread; a call that is out of time is abandoned, so it
/// should end by itself soon after its deadline.
pub trait Plugin: fmt::Debug + Send + Sync {
    /// Returns the name in the model's commands, such as `Calculate`.
    fn name(&self) -> &str;

    /// Returns the form of the results.
    fn kind(&self) -> ResultKind;

    /// Runs a call.
    ///
    /// # Errors
    /// [`PluginError`]; the model reads that there is no result.
    fn call(&self, argument: &str, context: &CallContext) -> Result<Output, PluginError>;
}
