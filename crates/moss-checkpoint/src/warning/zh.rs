//! The same in Chinese.

use super::Warning;

impl Warning {
    /// The warning in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::BitWidth { config, tensors } => {
                format!("config.json 称 `wbits` = {config}，而权重宽 {tensors} 位；按 {tensors} 处理")
            }
            Self::TorchDtype { config, tensors } => {
                format!("config.json 称 `torch_dtype` = {config}，而权重以 {tensors} 存储；按 {tensors} 处理")
            }
            Self::TwoContainers { ignored } => {
                format!("safetensors 与 PyTorch 文件并存；未读取 {} 个 PyTorch 文件", ignored.len())
            }
            Self::NoChecksums { file } => {
                format!("`{}` 写入时未带校验和，其损坏可能无法发现", file.display())
            }
            Self::UnknownTensors { count, first } => {
                format!("有 {count} 个 MOSS 没有的张量，第一个是 `{first}`；已忽略")
            }
        }
    }
}
