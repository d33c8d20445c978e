//! The file formats that hold weights.

/// A file format for weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `model*.safetensors`.
    Safetensors,
    /// `pytorch_model*.bin`, as `torch.save` writes a state dict since PyTorch 1.6.
    Torch,
}

impl Container {
    /// Returns the file name of shard `number` of `count`, counted from 1, as transformers expects
    /// it.
    pub fn file_name(self, number: usize, count: usize) -> String {
        match (self, count) {
            (Self::Safetensors, 1) => "model.safetensors".into(),
            (Self::Torch, 1) => "pytorch_model.bin".into(),
            (Self::Safetensors, _) => format!("model-{number:05}-of-{count:05}.safetensors"),
            (Self::Torch, _) => format!("pytorch_model-{number:05}-of-{count:05}.bin"),
        }
    }

    /// Returns the file name of the index of several shards.
    pub fn index_name(self) -> &'static str {
        match self {
            Self::Safetensors => "model.safetensors.index.json",
            Self::Torch => "pytorch_model.bin.index.json",
        }
    }
}
