//! Progress events of loading.

use crate::{
    DeviceSpec,
    placement::{self, Note},
};

/// Progress of loading: `Started`, notes of the placement, one `Planned` per GPU stage, then one
/// `Layer` per layer, in any order, then `Finished` unless an error is returned.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadEvent {
    /// The sizes are known.
    Started {
        /// Layers of the model.
        layers: usize,
    },
    /// A note of the placement.
    Noted {
        /// The note.
        note: Note,
        /// The requested devices.
        devices: Vec<DeviceSpec>,
    },
    /// The memory plan of a GPU.
    Planned {
        /// Stage, from 0.
        stage: usize,
        /// The GPU.
        device: DeviceSpec,
        /// Its layers and memory.
        plan: placement::Stage,
    },
    /// A layer was loaded.
    Layer {
        /// Bytes of its weights.
        bytes: u64,
    },
    /// All layers were loaded.
    Finished,
}
