//! Errors of a placement, with changes that make it fit.

use moss_messages::Message;

use crate::WeightFormat;

/// Errors of placing layers on devices.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum PlacementError {
    /// The device list is empty or too long.
    Devices {
        /// Entries of the list.
        found: usize,
        /// The maximum.
        expected: usize,
    },
    /// A network without layers.
    NoLayers,
    /// A device's bandwidth is not a positive number.
    Bandwidth {
        /// Its name.
        device: String,
        /// Its bandwidth, in bytes per second.
        found: f64,
    },
    /// The list of layers does not divide the model among the devices.
    Layers {
        /// The list.
        found: String,
        /// Number of devices.
        devices: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// The devices have too little memory, with the requested division or with any.
    DoesNotFit {
        /// Devices with too little memory, in the division that lacks the fewest bytes; at least
        /// one.
        shortfalls: Vec<Shortfall>,
        /// The smallest change of each kind that fits; may be empty.
        changes: Vec<Change>,
    },
}

/// A device with too little memory. A device that is listed several times is counted once.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[message(display)]
pub struct Shortfall {
    /// Index of the device's first entry in the list.
    pub device: usize,
    /// Its name.
    pub name: String,
    /// Its layers.
    pub layers: usize,
    /// Bytes that they need, with KV cache and workspace, and without the embedding, which may stay
    /// in host memory.
    pub needed: u64,
    /// Free bytes of the device.
    pub free: u64,
    /// Bytes that are missing.
    pub missing: u64,
}

/// A change of the request that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[message(display)]
pub enum Change {
    /// Automatic placement instead of the requested division.
    Division,
    /// A KV cache of this many positions.
    Context {
        /// Positions.
        positions: usize,
    },
    /// The same network in another format.
    Format(#[message(display)] WeightFormat),
    /// More GPUs, equal to the one of the list with the most memory.
    MoreGpus {
        /// Additional GPUs.
        count: usize,
        /// Index of the GPU that they equal.
        like: usize,
    },
    /// The CPU as the last stage.
    Cpu {
        /// Layers of that stage.
        layers: usize,
        /// Host memory of that stage, in bytes.
        bytes: u64,
    },
}
