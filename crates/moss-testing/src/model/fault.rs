use std::sync::{Arc, Mutex};

use moss_model::{DeviceSpec, ModelError};
use moss_weights::{DriverCall, KernelError};

/// Plans a failure of a later forward pass, also while the engine already runs.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Option<(usize, Fault)>>>);

impl Faults {
    /// Plans `fault` for the forward pass that follows `passes` successful ones.
    pub fn after(&self, passes: usize, fault: Fault) {
        *self.0.lock().unwrap() = Some((passes, fault));
    }

    /// Returns the fault of the pass that starts.
    pub(super) fn next(&self) -> Option<Fault> {
        let mut planned = self.0.lock().unwrap();
        match planned.as_mut()? {
            (0, _) => planned.take().map(|(_, fault)| fault),
            (passes, _) => {
                *passes -= 1;
                None
            }
        }
    }
}

/// A way in which a forward pass fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// An error that names no sequence: the cache is full.
    Error,
    /// An error that names the last sequence: infinity in layer 3.
    NonFinite,
    /// All logits are NaN.
    NanLogits,
    /// All logits are -inf.
    InfiniteLogits,
    /// Empty rows of logits.
    NoRows,
    /// Rows that lack one token.
    ShortRows,
    /// A sampled token although rows were requested.
    UnrequestedToken,
    /// A sampled token that is not in the vocabulary.
    UnknownToken,
    /// One output fewer than chunks.
    MissingOutput,
    /// A driver error after which the GPU's context is lost, such as an illegal address.
    DeviceLost,
    /// The same error, of the second of several stages.
    StageLost,
    /// A panic.
    Panic,
    /// A forward pass that never returns.
    Hangs,
}

impl Fault {
    /// Returns the error of a batch of `sequences`, or `None` if the fault is in the logits.
    ///
    /// # Panics
    ///
    /// For [`Fault::Panic`]. [`Fault::Hangs`] does not return.
    pub fn error(self, sequences: usize) -> Option<ModelError> {
        Some(match self {
            Self::Error => ModelError::CacheFull {
                needed_blocks: 1,
                free_blocks: 0,
            },
            Self::NonFinite => ModelError::NonFinite {
                layer: 3,
                sequence: sequences - 1,
                position: 0,
                value: f32::INFINITY,
            },
            Self::DeviceLost => device_lost(),
            Self::StageLost => ModelError::Stage {
                stage: 1,
                device: DeviceSpec::Cpu,
                source: Box::new(device_lost()),
            },
            Self::Panic => panic!("injected panic"),
            Self::Hangs => loop {
                std::thread::park();
            },
            _ => return None,
        })
    }
}

/// Returns the error of a driver call after an illegal memory access.
pub fn device_lost() -> ModelError {
    ModelError::Kernel {
        layer: 3,
        op: "attention",
        source: KernelError::Driver {
            what: DriverCall::Synchronize,
            code: 700,
            message: "an illegal memory access was encountered".to_owned(),
        },
    }
}
