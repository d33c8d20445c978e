//! What is said around a download.

use std::{path::Path, time::Duration};

use moss::{
    hub::{DownloadPlan, Fault},
    unicode::{Context, escape},
};

use super::{language::Words, units::size};

/// Characters of a licence that are shown.
const LONGEST_LICENSE: usize = 100;

/// From the question to the last byte.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DownloadMessage<'a> {
    /// What will come, before the first byte.
    Plan(&'a DownloadPlan),
    /// Answered with a line.
    Ask,
    /// Nobody could answer.
    NobodyToAsk {
        model: &'a str,
    },
    NobodyToAskHint {
        model: &'a str,
    },
    Declined {
        model: &'a str,
    },
    DeclinedHint {
        model: &'a str,
    },
    /// Another process has the file.
    Waiting {
        file: &'a str,
    },
    File {
        file: &'a str,
        bytes: u64,
        done: u64,
    },
    /// A line now and then where no bar is drawn.
    Status {
        done: u64,
        total: u64,
        /// Bytes a second.
        rate: u64,
    },
    Retrying {
        file: &'a str,
        fault: &'a Fault,
        wait: Duration,
    },
    Verifying {
        file: &'a str,
    },
    /// Every file has its hash: the hub's, or the one that the cache records.
    Verified {
        files: usize,
        bytes: u64,
        listed: bool,
    },
    /// A file of which no hash is known.
    Unchecked {
        path: &'a Path,
    },
    /// Its causes follow.
    NoListing,
    /// A line for each damaged file.
    Damaged {
        id: &'a str,
        list: &'a Words,
    },
    DamagedHint {
        id: &'a str,
    },
    Repairing {
        list: &'a Words,
    },
    /// A download of another tool that has no tokenizer yet.
    Partial {
        model: &'a str,
        missing: &'a str,
    },
}

impl DownloadMessage<'_> {
    /// In English and in Chinese.
    pub(super) fn texts(self) -> (String, String) {
        match self {
            Self::Plan(plan) => texts_of_plan(plan),
            Self::Ask => ("Download it? [y/N] ".into(), "现在下载吗？[y/N] ".into()),
            Self::NobodyToAsk { model } => (
                format!(
                    "`{model}` is not on this machine, and there is no terminal to ask whether to download it"
                ),
                format!("本机没有 `{model}`，且没有终端可以询问是否下载"),
            ),
            Self::NobodyToAskHint { model } => (
                format!(
                    "`--yes` downloads without asking, and so does `moss-cli download {model}`; files may be put by hand into ./fnlp/NAME; `--demo` talks at once, with a tiny model"
                ),
                format!(
                    "加 `--yes` 则不询问直接下载；`moss-cli download {model}` 亦可；也可手动把文件放入 ./fnlp/NAME；`--demo` 可立即试用小型演示模型"
                ),
            ),
            Self::Declined { model } => (
                format!("`{model}` is not on this machine, and was not downloaded"),
                format!("本机没有 `{model}`，且未下载"),
            ),
            Self::DeclinedHint { model } => (
                format!(
                    "`moss-cli download {model}` fetches it at any time; `--demo` talks at once, with a tiny model"
                ),
                format!(
                    "随时可用 `moss-cli download {model}` 下载；`--demo` 可立即试用小型演示模型"
                ),
            ),
            Self::Waiting { file } => (
                format!("another process is downloading {file}; waiting for it"),
                format!("另一进程正在下载 {file}，等待其完成"),
            ),
            Self::File {
                file,
                bytes,
                done: 0,
            } => (
                format!("{file}: {}", size(bytes)),
                format!("{file}：{}", size(bytes)),
            ),
            Self::File { file, bytes, done } => (
                format!(
                    "{file}: {}, of which {} are here already",
                    size(bytes),
                    size(done)
                ),
                format!("{file}：{}，其中 {} 已在本机", size(bytes), size(done)),
            ),
            Self::Status { done, total, rate } => {
                let percent = done.saturating_mul(100) / total.max(1);
                let (done_of, rate_text) =
                    (format!("{} / {}", size(done), size(total)), size(rate));
                match total.saturating_sub(done).checked_div(rate) {
                    Some(seconds) => (
                        format!(
                            "{percent}%, {done_of}, {rate_text}/s, {} left",
                            clock(seconds)
                        ),
                        format!(
                            "{percent}%，{done_of}，{rate_text}/秒，剩余 {}",
                            clock(seconds)
                        ),
                    ),
                    None => (
                        format!("{percent}%, {done_of}, nothing comes at the moment"),
                        format!("{percent}%，{done_of}，暂无数据"),
                    ),
                }
            }
            Self::Retrying { file, fault, wait } => {
                let seconds = wait.as_secs_f64();
                let file_zh = if file == "list of files" {
                    "文件列表"
                } else {
                    file
                };
                let [fault, fault_zh] = [fault.to_string(), fault.zh()]
                    .map(|text| escape(&text, Context::Line).into_owned());
                (
                    format!("{file}: {fault}; again in {seconds:.0} s"),
                    format!("{file_zh}：{fault_zh}；{seconds:.0} 秒后重试"),
                )
            }
            Self::Verifying { file } => (format!("{file}: verifying"), format!("{file}：正在校验")),
            Self::Verified {
                files,
                bytes,
                listed,
            } => {
                let (as_what, as_what_zh) = match listed {
                    true => ("the hub's listing", "模型库的文件列表"),
                    false => ("the hashes that the cache records", "缓存中记录的哈希"),
                };
                let bytes = size(bytes);
                (
                    format!("{files} files, {bytes}: all match {as_what}"),
                    format!("{files} 个文件，{bytes}：均与{as_what_zh}一致"),
                )
            }
            Self::Unchecked { path } => (
                format!("not checked, the hub's hash is needed: {}", path.display()),
                format!("未校验（需要模型库给出的哈希）：{}", path.display()),
            ),
            Self::NoListing => (
                "the hub gives no list of files: checking against the hashes that the cache records"
                    .into(),
                "无法取得模型库的文件列表，改为与缓存中记录的哈希核对".into(),
            ),
            Self::Damaged { id, list } => (
                format!(
                    "files of `{id}` in the cache are damaged or missing:{}",
                    list.en
                ),
                format!("缓存中 `{id}` 的文件已损坏或缺失：{}", list.zh),
            ),
            Self::DamagedHint { id } => (
                format!("`moss-cli download {id} --verify --yes` downloads these files again"),
                format!("`moss-cli download {id} --verify --yes` 可重新下载这些文件"),
            ),
            Self::Repairing { list } => (
                format!("downloading again:{}", list.en),
                format!("重新下载：{}", list.zh),
            ),
            Self::Partial { model, missing } => (
                format!(
                    "the download of `{model}` in the cache is incomplete: {missing} is missing"
                ),
                format!("缓存中的 `{model}` 尚未下载完整：缺少 {missing}"),
            ),
        }
    }
}

fn texts_of_plan(plan: &DownloadPlan) -> (String, String) {
    let DownloadPlan {
        id,
        endpoint,
        folder,
        bytes_done,
        files,
        ..
    } = plan;
    let (bytes, count, folder) = (size(plan.bytes()), files.len(), folder.display());
    let (here, here_zh) = match bytes_done {
        0 => Default::default(),
        done => (
            format!(", {} of them here already", size(*done)),
            format!("，其中 {} 已在本机", size(*done)),
        ),
    };
    let license = license_text(plan.license.as_deref(), id.is_known());
    let endpoint = escape(endpoint, Context::Line);
    (
        format!(
            "{id}\n  size     {bytes} in {count} files{here}\n  licence  {license} (of the weights)\n  from     {endpoint}\n  to       {folder}\nCtrl-C keeps what has come; the same command goes on from there."
        ),
        format!(
            "{id}\n  大小    {bytes}，{count} 个文件{here_zh}\n  许可证  {license}（权重）\n  来源    {endpoint}\n  存放于  {folder}\nCtrl-C 中断后已下载的部分会保留；再次运行同一命令即可继续。"
        ),
    )
}

/// The licence in the hub's words, which stand in a line of ours.
fn license_text(license: Option<&str>, is_known: bool) -> String {
    let license = license
        .or(is_known.then_some("agpl-3.0"))
        .unwrap_or("?")
        .to_uppercase();
    escape(&license, Context::Line)
        .chars()
        .take(LONGEST_LICENSE)
        .collect()
}

/// Such as `1:02:03`, `2:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_one_line_without_control_characters_and_of_bounded_length() {
        assert_eq!(license_text(None, true), "AGPL-3.0");
        let hostile = "mit\x1b[2J\nerror: \u{9b}\u{202e}";
        assert_eq!(
            license_text(Some(hostile), true),
            "MIT\\u{1b}[2J\\nERROR: \\u{9b}\\u{202e}"
        );
        assert_eq!(
            license_text(Some(&"x".repeat(5000)), false).len(),
            LONGEST_LICENSE
        );
    }

    #[test]
    fn a_status_says_share_rate_and_time_left_and_survives_standing_still() {
        let status = |rate| {
            DownloadMessage::Status {
                done: 1_000_000,
                total: 4_000_000,
                rate,
            }
            .texts()
            .0
        };
        assert_eq!(
            status(1000),
            "25%, 1.00 MB / 4.00 MB, 1.00 kB/s, 50:00 left"
        );
        assert_eq!(
            status(100),
            "25%, 1.00 MB / 4.00 MB, 0.10 kB/s, 8:20:00 left"
        );
        assert_eq!(
            status(0),
            "25%, 1.00 MB / 4.00 MB, nothing comes at the moment"
        );
    }
}
