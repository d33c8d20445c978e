//! Settings that are kept from the search for a model to its use.

use moss_checkpoint::WeightStorage;
use moss_cpu::{Activations, ops::RopePrecision};
use moss_engine::{ChatOptions, EngineOptions, Speculation};
#[cfg(feature = "candle")]
use moss_model::Reference;
use moss_model::{ComputeDtype, DeviceSpec, KvCacheType, LanguageModel, LoadOptions};
use moss_text::{Plugin, SystemText};

use crate::{BuildError, event::Listener};

pub(crate) type WrapModel =
    Box<dyn FnOnce(Box<dyn LanguageModel>) -> Box<dyn LanguageModel> + Send>;

/// The implementation that runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The kernels of this project.
    #[default]
    Native,
    /// The reference in candle's modules. It is slower, and copies the weights. It has neither
    /// [`Activations::Int8`], nor [`KvCacheType::Int8`], nor [`DeviceSpec::Gpu`] with a limit on the
    /// architecture, and GPUs need the feature `candle-cuda`.
    #[cfg(feature = "candle")]
    Candle,
}

impl Backend {
    /// Returns the default devices.
    fn devices(self) -> Result<Vec<DeviceSpec>, BuildError> {
        Ok(match self {
            Self::Native => DeviceSpec::available(None)?,
            #[cfg(feature = "candle")]
            Self::Candle => Reference::available()?,
        })
    }
}

/// Placement, limits and prompts.
pub(crate) struct Settings {
    pub(crate) storage: WeightStorage,
    pub(crate) backend: Backend,
    /// `None` for those of the backend.
    pub(crate) devices: Option<Vec<DeviceSpec>>,
    pub(crate) layers_per_device: Option<Vec<usize>>,
    pub(crate) peer_copies: bool,
    /// `None` for [`ComputeDtype::default_for`].
    pub(crate) dtype: Option<ComputeDtype>,
    pub(crate) activations: Activations,
    pub(crate) rope_precision: RopePrecision,
    pub(crate) kv_cache: KvCacheType,
    /// `None` for the default of the use.
    pub(crate) engine: Option<EngineOptions>,
    pub(crate) threads: Option<usize>,
    pub(crate) max_sequences: Option<usize>,
    pub(crate) cache_tokens: Option<usize>,
    pub(crate) deterministic: Option<bool>,
    pub(crate) max_per_owner: Option<usize>,
    pub(crate) speculation: Option<Speculation>,
    pub(crate) system: SystemText,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) chat: ChatOptions,
    pub(crate) wrap_model: Option<WrapModel>,
    pub(crate) listener: Listener,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            storage: WeightStorage::default(),
            backend: Backend::default(),
            devices: None,
            layers_per_device: None,
            peer_copies: true,
            dtype: None,
            activations: Activations::Exact,
            rope_precision: RopePrecision::F32,
            kv_cache: KvCacheType::Native,
            engine: None,
            threads: None,
            max_sequences: None,
            cache_tokens: None,
            deterministic: None,
            max_per_owner: None,
            speculation: None,
            system: SystemText::Published,
            plugins: Vec::new(),
            chat: ChatOptions::default(),
            wrap_model: None,
            listener: Listener::default(),
        }
    }
}

impl Settings {
    /// Returns the placement with a KV cache for `positions` tokens, for the sequences of `engine`.
    pub(crate) fn load_options(
        &self,
        positions: usize,
        engine: &EngineOptions,
    ) -> Result<LoadOptions, BuildError> {
        let devices = self.devices()?;
        let default = || ComputeDtype::default_for(&devices, self.activations);
        Ok(LoadOptions {
            dtype: self.dtype.unwrap_or_else(default),
            activations: self.activations,
            rope_precision: self.rope_precision,
            kv_cache: self.kv_cache,
            devices,
            layers_per_device: self.layers_per_device.clone(),
            peer_copies: self.peer_copies,
            max_decode_rows: engine.decode_rows(),
            fewer_rows: engine.fewer_sequences,
            fill_memory: engine.fill_memory && engine.cache_tokens.is_none(),
            ..LoadOptions::cpu(positions)
        })
    }

    /// Returns the devices, or those of the backend by default.
    pub(crate) fn devices(&self) -> Result<Vec<DeviceSpec>, BuildError> {
        match &self.devices {
            Some(devices) => Ok(devices.clone()),
            None => self.backend.devices(),
        }
    }

    /// Returns the placement for a program that runs the model itself.
    pub(crate) fn own_load_options(&self, positions: usize) -> Result<LoadOptions, BuildError> {
        self.load_options(positions, &self.engine_options(EngineOptions::default))
    }

    /// Returns the engine's limits; `default` is that of the use.
    pub(crate) fn engine_options(&self, default: fn() -> EngineOptions) -> EngineOptions {
        let options = self.engine.clone().unwrap_or_else(default);
        EngineOptions {
            threads: self.threads.or(options.threads),
            max_sequences: self.max_sequences.unwrap_or(options.max_sequences),
            fewer_sequences: options.fewer_sequences && self.max_sequences.is_none(),
            cache_tokens: self.cache_tokens.or(options.cache_tokens),
            deterministic: self.deterministic.unwrap_or(options.deterministic),
            max_per_owner: self.max_per_owner.or(options.max_per_owner),
            speculation: self.speculation.unwrap_or(options.speculation),
            ..options
        }
    }

    /// Starts the threads that CPU kernels run on.
    pub(crate) fn pool(&self) -> Result<rayon::ThreadPool, BuildError> {
        let engine = self.engine.as_ref();
        let threads = self.threads.or(engine.and_then(|engine| engine.threads));
        let threads = threads.unwrap_or(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map_err(|source| BuildError::Threads { threads, source })
    }
}
