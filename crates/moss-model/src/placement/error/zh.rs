//! The same in Chinese.

use super::{Change, PlacementError, Shortfall, gb};

impl PlacementError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::NoCards => "没有可放置模型的设备，至少应有一个".into(),
            Self::TooManyCards { found, expected } => {
                format!("列出了 {found} 个设备，最多 {expected} 个")
            }
            Self::NoLayers => "模型没有任何层，至少应有一层".into(),
            Self::Bandwidth { card, found } => {
                format!("`{card}` 每秒读取 {found} 字节，应为大于 0 的数")
            }
            Self::Counts { found, expected } => {
                format!("给出了 {found} 个设备的层数，应为 {expected} 个")
            }
            Self::Empty { card } => format!("设备 {card} 分到 0 层，至少应有 1 层"),
            Self::Sum { found, expected } => {
                format!("各设备共分到 {found} 层，应等于模型的 {expected} 层")
            }
            Self::DoesNotFit { shortfalls, .. } => {
                format!("模型放不下：{}", list(shortfalls, Shortfall::zh))
            }
        }
    }

    /// [`PlacementError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        match self {
            Self::DoesNotFit { changes, .. } if changes.is_empty() => {
                Some("换格式、缩短上下文或只加一个设备都放不下：需要别的显卡".into())
            }
            Self::DoesNotFit { changes, .. } if changes.len() == 1 => {
                Some(format!("这样可以放下：{}", list(changes, Change::zh)))
            }
            Self::DoesNotFit { changes, .. } => Some(format!(
                "以下任一项都可以放下：{}",
                list(changes, Change::zh)
            )),
            Self::Counts { .. } | Self::Empty { .. } | Self::Sum { .. } => {
                Some("请给出每个设备的层数，例如 `9,9,9,7`，或不给层数".into())
            }
            _ => None,
        }
    }
}

impl Shortfall {
    fn zh(&self) -> String {
        let Self {
            card,
            name,
            layers,
            needed,
            free,
        } = self;
        let [needed, free, missing] = [*needed, *free, self.missing()].map(gb);
        format!("设备 {card}（{name}）放 {layers} 层需要 {needed}，可用 {free}，还差 {missing}")
    }
}

impl Change {
    fn zh(&self) -> String {
        match self {
            Self::Division => "由程序自行分配各层".into(),
            Self::Context { positions } => format!("上下文改为 {positions} 个词元"),
            Self::Format(format) => format!("改用 {format} 模型"),
            Self::MoreCards { count, like } => format!("再加 {count} 张与设备 {like} 相同的卡"),
            Self::Cpu { layers, bytes } => {
                format!(
                    "在列表末尾加上 `cpu`（{layers} 层，占主机内存 {}）",
                    gb(*bytes)
                )
            }
        }
    }
}

fn list<T>(items: &[T], zh: impl Fn(&T) -> String) -> String {
    items.iter().map(zh).collect::<Vec<_>>().join("；")
}
