//! Notes on the placement of a model.

use moss::model::placement::{LeftOut, Note};

use super::language::Language;

/// `devices` are the names of all cards.
pub(crate) fn placement_note(language: Language, note: &Note, devices: &[String]) -> String {
    let (en, zh) = match note {
        Note::LeftOut { card, why } => {
            let device = devices.get(*card).map_or("", String::as_str);
            let (en, zh) = match why {
                LeftOut::NotNeeded => ("everything fits on the GPUs", "GPU 已能放下全部"),
                LeftOut::TooSmall => ("it has no room for a layer", "放不下一层"),
                LeftOut::NoLayersLeft => ("there are fewer layers than devices", "层数少于设备数"),
                LeftOut::NoFaster => (
                    "with it the slowest stage would be no faster",
                    "加入它并不能加快最慢的阶段",
                ),
            };
            (
                format!("note: {device} is left out: {en}"),
                format!("注意：不使用 {device}：{zh}"),
            )
        }
        Note::EmbeddingOnHost => (
            "note: the embedding stays in host memory, to make the first stage fit".into(),
            "注意：为放下第一阶段，嵌入留在主机内存".into(),
        ),
        Note::OnCpu {
            layers,
            seconds,
            of_seconds,
        } => {
            let [ms, of_ms] = [seconds, of_seconds].map(|seconds| seconds * 1e3);
            (
                format!(
                    "note: the {layers} layer(s) on the CPU take {ms:.0} of a token's {of_ms:.0} ms (predicted)"
                ),
                format!(
                    "注意：CPU 上的 {layers} 层占每词元 {of_ms:.0} 毫秒中的 {ms:.0} 毫秒（预测）"
                ),
            )
        }
    };
    language.pick(en, zh)
}
