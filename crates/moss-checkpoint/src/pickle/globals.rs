//! The allow-list of names in a state dict.

use crate::DType;

/// The names that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

/// Returns PyTorch's name for a storage of these elements.
pub(super) fn storage_name(dtype: DType) -> String {
    format!("{}Storage", storage_kind(dtype))
}

fn storage_kind(dtype: DType) -> &'static str {
    match dtype {
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
    }
}

impl Global {
    /// Returns the meaning of `module.name`; `None` for a name that is not listed.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => {
                let kind = storage.strip_suffix("Storage")?;
                let is_kind = |dtype: &DType| storage_kind(*dtype) == kind;
                Self::Storage(DType::ALL.into_iter().find(is_kind)?)
            }
            _ => return None,
        })
    }
}
