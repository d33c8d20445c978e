//! The entry point: builds a model by name. All settings have defaults.

use std::path::PathBuf;

use moss_checkpoint::WeightStorage;
use moss_cpu::{Activations, ops::RopePrecision};
use moss_engine::{Batch, Chat, ChatOptions, Engine, EngineOptions, Speculation};
#[cfg(feature = "hub")]
use moss_hub::{DEMO_NAME, DemoFormat, DownloadPlan, HubSettings, unpack_demo};
use moss_hub::{ResolvedModel, SearchPlaces, resolve};
use moss_model::{ComputeDtype, DeviceSpec, KvCacheType, LanguageModel, LoadOptions, Moss};
#[cfg(feature = "server")]
use moss_server::{Server, ServerOptions};
use moss_text::{Plugin, SystemText};

#[cfg(feature = "hub")]
use crate::download::Download;
use crate::{
    Backend, BuildError, Found,
    event::{BuildEvent, Listener},
    settings::Settings,
};

/// The model to find.
enum Target {
    Name(String),
    Folder(PathBuf),
    #[cfg(feature = "hub")]
    Demo {
        format: DemoFormat,
        cache_dir: PathBuf,
    },
}

/// Finds, loads and starts a model.
///
/// Every setting has a default: the first GPU or else the CPU, the data type that suits the device,
/// the published prompts and chat settings. Nothing is read from the environment, and no connection
/// is opened without `Builder::download` (feature `hub`).
///
/// ```
/// # fn main() -> Result<(), moss::BuildError> {
/// # let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/moss-demo-int4");
/// let mut batch = moss::Builder::new(demo).threads(2).batch()?;
/// for answer in batch.ask_all(&["What is 3 + 4?", "你好"]) {
///     println!("{}", answer?.text);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until a model is requested of it"]
pub struct Builder {
    target: Target,
    places: SearchPlaces,
    #[cfg(feature = "hub")]
    download: Option<Download>,
    settings: Settings,
}

impl Builder {
    /// Selects a model: a folder, a hub id such as `fnlp/moss-moon-003-sft-int4`, or the short name
    /// of a published checkpoint.
    pub fn new(name: impl Into<String>) -> Self {
        Self::of(Target::Name(name.into()))
    }

    /// Selects the checkpoint of a folder.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self::of(Target::Folder(folder.into()))
    }

    /// Selects the demo model that is part of the library. It is unpacked into
    /// [`Builder::cache_dir`].
    #[cfg(feature = "hub")]
    pub fn demo(format: DemoFormat) -> Self {
        let cache_dir = std::env::temp_dir();
        Self::of(Target::Demo { format, cache_dir })
    }

    fn of(target: Target) -> Self {
        let places = SearchPlaces {
            current_dir: PathBuf::from("."),
            hub_cache: None,
        };
        Self {
            target,
            places,
            #[cfg(feature = "hub")]
            download: None,
            settings: Settings::default(),
        }
    }

    /// Sets where the demo model is unpacked; the system's folder for temporary files by default.
    #[cfg(feature = "hub")]
    pub fn cache_dir(mut self, folder: PathBuf) -> Self {
        if let Target::Demo { cache_dir, .. } = &mut self.target {
            *cache_dir = folder;
        }
        self
    }

    /// Sets where models are searched for; the current directory alone by default.
    pub fn search(mut self, places: SearchPlaces) -> Self {
        self.places = places;
        self
    }

    /// Allows to download a model that is not on this machine, or is there in part. `confirm`
    /// decides after the file list has been fetched. [`HubSettings::cache`] must be one of the
    /// places that are searched.
    #[cfg(feature = "hub")]
    pub fn download(
        mut self,
        settings: HubSettings,
        confirm: impl FnMut(&DownloadPlan) -> bool + Send + 'static,
    ) -> Self {
        let confirm = Box::new(confirm);
        self.download = Some(Download { settings, confirm });
        self
    }

    /// Sets whether weight files are memory-mapped or read into memory.
    pub fn storage(mut self, storage: WeightStorage) -> Self {
        self.settings.storage = storage;
        self
    }

    /// Sets the implementation that runs the model.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.settings.backend = backend;
        self
    }

    /// Sets the devices: the layers are divided among them in this order.
    pub fn devices(mut self, devices: Vec<DeviceSpec>) -> Self {
        self.settings.devices = Some(devices);
        self
    }

    /// Sets GPUs as the devices.
    pub fn gpus(self, ordinals: &[usize]) -> Self {
        let gpu = |&ordinal: &usize| DeviceSpec::Gpu {
            ordinal,
            newest_code: None,
        };
        self.devices(ordinals.iter().map(gpu).collect())
    }

    /// Sets the number of layers on each device; they are balanced by default.
    pub fn layers_per_device(mut self, layers: Vec<usize>) -> Self {
        self.settings.layers_per_device = Some(layers);
        self
    }

    /// Sets whether GPUs may copy hidden states to each other directly.
    pub fn peer_copies(mut self, allowed: bool) -> Self {
        self.settings.peer_copies = allowed;
        self
    }

    /// Sets the data type of activations, and of the KV cache unless [`Builder::kv_cache`] sets it.
    pub fn dtype(mut self, dtype: ComputeDtype) -> Self {
        self.settings.dtype = Some(dtype);
        self
    }

    /// Sets what quantized weights are multiplied with.
    pub fn activations(mut self, activations: Activations) -> Self {
        self.settings.activations = activations;
        self
    }

    /// Sets the type of keys and values in the cache. An 8-bit cache holds about twice as many tokens
    /// as one in f16, and changes results slightly.
    pub fn kv_cache(mut self, kv_cache: KvCacheType) -> Self {
        self.settings.kv_cache = kv_cache;
        self
    }

    /// Sets the precision of the rotary frequencies.
    pub fn rope_precision(mut self, precision: RopePrecision) -> Self {
        self.settings.rope_precision = precision;
        self
    }

    /// Sets the limits of the engine. The default depends on the use: [`EngineOptions::chat`],
    /// [`EngineOptions::default`], [`EngineOptions::server`].
    pub fn engine_options(mut self, options: EngineOptions) -> Self {
        self.settings.engine = Some(options);
        self
    }

    /// Sets the number of threads of the CPU kernels; one per core by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = Some(threads);
        self
    }

    /// Sets [`EngineOptions::max_sequences`].
    pub fn max_sequences(mut self, sequences: usize) -> Self {
        self.settings.max_sequences = Some(sequences);
        self
    }

    /// Sets [`EngineOptions::speculation`].
    pub fn speculation(mut self, speculation: Speculation) -> Self {
        self.settings.speculation = Some(speculation);
        self
    }

    /// Sets [`EngineOptions::cache_tokens`].
    pub fn cache_tokens(mut self, tokens: usize) -> Self {
        self.settings.cache_tokens = Some(tokens);
        self
    }

    /// Sets [`EngineOptions::deterministic`].
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.settings.deterministic = Some(deterministic);
        self
    }

    /// Sets [`EngineOptions::max_per_owner`].
    pub fn max_per_owner(mut self, sequences: usize) -> Self {
        self.settings.max_per_owner = Some(sequences);
        self
    }

    /// Sets the system prompt.
    pub fn system(mut self, system: SystemText) -> Self {
        self.settings.system = system;
        self
    }

    /// Enables plugins of a model that was trained with plugins.
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Plugin>) -> Self {
        self.settings.plugins = plugins.into_iter().collect();
        self
    }

    /// Sets sampling and limits of chat replies.
    pub fn chat_options(mut self, options: ChatOptions) -> Self {
        self.settings.chat = options;
        self
    }

    /// Replaces the loaded model before the engine starts, to observe it or to inject faults.
    pub fn wrap_model(
        mut self,
        wrap: impl FnOnce(Box<dyn LanguageModel>) -> Box<dyn LanguageModel> + Send + 'static,
    ) -> Self {
        self.settings.wrap_model = Some(Box::new(wrap));
        self
    }

    /// Sets the receiver of progress and warnings.
    pub fn on_event(mut self, listener: impl FnMut(BuildEvent<'_>) + Send + 'static) -> Self {
        self.settings.listener = Listener::new(listener);
        self
    }

    /// Returns the placement with a KV cache for `positions` tokens.
    ///
    /// # Errors
    /// [`BuildError::Model`] if the GPU driver does not start.
    pub fn load_options(&self, positions: usize) -> Result<LoadOptions, BuildError> {
        self.settings.own_load_options(positions)
    }

    /// Starts the threads that CPU kernels run on, for programs that run a model without an engine.
    ///
    /// # Errors
    /// [`BuildError::Threads`].
    pub fn pool(&self) -> Result<rayon::ThreadPool, BuildError> {
        self.settings.pool()
    }

    /// Finds the model, and downloads it if that is allowed. Weights are not read.
    ///
    /// # Errors
    /// [`BuildError::Hub`], [`BuildError::Declined`].
    pub fn find(mut self) -> Result<Found, BuildError> {
        let listener = &mut self.settings.listener;
        let found = match &self.target {
            Target::Folder(folder) => ResolvedModel::at(folder.clone()),
            #[cfg(not(feature = "hub"))]
            Target::Name(name) => resolve(name, &self.places)?,
            #[cfg(feature = "hub")]
            Target::Name(name) => match &mut self.download {
                Some(download) => download.find(name, &self.places, listener)?,
                None => resolve(name, &self.places)?,
            },
            #[cfg(feature = "hub")]
            Target::Demo { format, cache_dir } => ResolvedModel {
                name: DEMO_NAME.to_owned(),
                folder: unpack_demo(*format, cache_dir)?,
            },
        };
        let (name, folder) = (found.name.as_str(), found.folder.as_path());
        listener.tell(BuildEvent::Found { name, folder });
        Ok(Found::new(found, self.settings))
    }

    /// Finds and loads the model, without an engine.
    ///
    /// # Errors
    /// Those of [`Builder::find`] and [`Found::model`].
    pub fn model(self) -> Result<Moss, BuildError> {
        self.find()?.model()
    }

    /// Finds and loads the model and starts an engine.
    ///
    /// # Errors
    /// Those of [`Builder::find`] and [`Found::engine`].
    pub fn engine(self) -> Result<Engine, BuildError> {
        self.find()?.engine()
    }

    /// Finds and loads the model and begins a conversation.
    ///
    /// # Errors
    /// Those of [`Builder::find`] and [`Found::chat`].
    pub fn chat(self) -> Result<Chat, BuildError> {
        self.find()?.chat()
    }

    /// Finds and loads the model, to answer many messages at the same time.
    ///
    /// # Errors
    /// Those of [`Builder::find`] and [`Found::batch`].
    pub fn batch(self) -> Result<Batch, BuildError> {
        self.find()?.batch()
    }

    /// Finds and loads the model and creates a server with it.
    ///
    /// # Errors
    /// Those of [`Builder::find`] and [`Found::server`].
    #[cfg(feature = "server")]
    pub fn server(self, options: ServerOptions) -> Result<Server, BuildError> {
        self.find()?.server(options)
    }
}
