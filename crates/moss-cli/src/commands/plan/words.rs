//! What a plan says, in both languages.

use moss_bench::{
    hardware::{DISPLAY_MEMORY, DRIVER_MEMORY},
    roofline::Prediction,
};

use crate::messages::Language;

pub(super) fn title(
    language: Language,
    name: &str,
    format: &str,
    layers: usize,
    positions: usize,
) -> String {
    let zh_format = format.replacen("mixed", "混合", 1);
    language.pick(
        format!("{name}, {format}, {layers} layers, context {positions}"),
        format!("{name}，{zh_format}，{layers} 层，上下文 {positions}"),
    )
}

pub(super) fn columns(language: Language) -> [&'static str; 8] {
    language.pick(
        [
            "stage",
            "device",
            "layers",
            "weights",
            "embedding",
            "cache",
            "workspace",
            "free after",
        ],
        [
            "阶段",
            "设备",
            "层",
            "权重",
            "嵌入",
            "缓存",
            "工作区",
            "剩余",
        ],
    )
}

pub(super) fn ceiling(language: Language, prediction: &Prediction) -> String {
    let Prediction {
        rate_empty,
        rate_full,
        ..
    } = prediction;
    language.pick(
        format!(
            "predicted: at most {rate_empty:.1} tok/s, {rate_full:.1} with a full cache (bytes read, by the memory's bandwidth)"
        ),
        format!("预测：最多 {rate_empty:.1} tok/s，缓存满时 {rate_full:.1}（读取字节数除以内存带宽）"),
    )
}

pub(super) fn first_token(language: Language, prediction: &Prediction) -> String {
    let Prediction {
        prompt,
        share,
        first_token,
        ..
    } = prediction;
    match first_token {
        Some(seconds) => language.pick(
            format!(
                "predicted: first token of a {prompt}-token prompt after {seconds:.2} s (at {share} of the tensor cores' f16 peak, as an H100 reaches)"
            ),
            format!(
                "预测：{prompt} 词元的提示，首个词元约需 {seconds:.2} 秒（按张量核心 f16 峰值的 {share}，即 H100 实测比例）"
            ),
        ),
        None => language.pick(
            format!(
                "first token of a {prompt}-token prompt: not predicted, a device's arithmetic is not known"
            ),
            format!("{prompt} 词元提示的首个词元：无法预测，设备的计算能力未知"),
        ),
    }
}

pub(super) fn data_sheets(language: Language) -> String {
    let [driver, display] =
        [DRIVER_MEMORY, DISPLAY_MEMORY].map(|bytes| bytes as f64 / (1u64 << 30) as f64);
    language.pick(
        format!(
            "nominal figures of the cards, less {driver} GiB for the driver and {display} GiB for a display on RTX cards"
        ),
        format!("显卡按标称值计算，扣除驱动占用 {driver} GiB，RTX 卡另扣显示占用 {display} GiB"),
    )
}
