//! The list of names that a state dict may mention. Nothing behind them is ever imported or called.

use crate::DType;

/// The names that may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

/// PyTorch's name for a storage of these elements.
pub(super) fn storage_name(dtype: DType) -> String {
    let kind = match dtype {
        DType::Bool => "Bool",
        DType::U8 => "Byte",
        DType::I8 => "Char",
        DType::I16 => "Short",
        DType::I32 => "Int",
        DType::I64 => "Long",
        DType::F16 => "Half",
        DType::BF16 => "BFloat16",
        DType::F32 => "Float",
        DType::F64 => "Double",
    };
    format!("{kind}Storage")
}

impl Global {
    /// What `module.name` means here; `None` for every name that is not listed.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => Self::Storage(match storage.strip_suffix("Storage")? {
                "Bool" => DType::Bool,
                "Byte" => DType::U8,
                "Char" => DType::I8,
                "Short" => DType::I16,
                "Int" => DType::I32,
                "Long" => DType::I64,
                "Half" => DType::F16,
                "BFloat16" => DType::BF16,
                "Float" => DType::F32,
                "Double" => DType::F64,
                _ => return None,
            }),
            _ => return None,
        })
    }
}
