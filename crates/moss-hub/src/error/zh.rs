//! The same in Chinese.

use super::HubError;
#[cfg(feature = "download")]
use crate::Fault;

const MIRROR: &str = "设置镜像（HF_ENDPOINT=https://hf-mirror.com）或使用 `--source modelscope`";
const LOGIN: &str = "用浏览器打开任一网页完成登录";
const DEMO: &str = "`--demo` 无需网络，可立即试用本程序自带的微型模型";
const BY_HAND: &str = "手动将 config.json、vocab.json、merges.txt、added_tokens.json 和权重文件放入 ./fnlp/名称，程序会在那里查找";

impl HubError {
    /// The error in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::NotFound { name, looked, .. } => {
                let places = looked.iter();
                let places =
                    places.map(|(path, why)| format!("\n  {}（{}）", path.display(), phrase(why)));
                format!(
                    "找不到模型 `{name}`，已查找：{}",
                    places.collect::<String>()
                )
            }
            Self::Write { path, .. } => format!("无法将演示模型写入 `{}`", path.display()),
            Self::BadId { id } => {
                format!("`{id}` 不是模型名称，应为“组织/名称”或已发布模型的短名称")
            }
            Self::Offline { id } => format!("未下载 `{id}`：已要求离线"),
            Self::BadEndpoint { endpoint, reason } => {
                format!("模型库地址 `{endpoint}` 不可用：{}", scheme(reason))
            }
            Self::BadProxy { reason } => format!("代理地址不可用：{reason}"),
            Self::Listing { url, id, reason } => {
                format!("无法理解 {url} 给出的 `{id}` 的文件列表：{reason}")
            }
            Self::Incomplete {
                id,
                endpoint,
                missing,
            } => {
                format!("{endpoint} 上的 `{id}` 缺少 {}", phrase(missing))
            }
            #[cfg(feature = "download")]
            Self::Transfer {
                file,
                url,
                attempts,
                ..
            } => {
                let file = if file == "list of files" {
                    "文件列表"
                } else {
                    file
                };
                format!("无法从 {url} 下载 {file}（已尝试 {attempts} 次）")
            }
            Self::Hash {
                file,
                url,
                found,
                expected,
            } => {
                format!("来自 {url} 的 {file} 的哈希为 {found}，应为 {expected}")
            }
            Self::Space {
                path, needed, free, ..
            } => {
                format!(
                    "`{}` 剩余 {free} 字节，下载需要 {needed} 字节",
                    path.display()
                )
            }
            Self::Disk { path, .. } => format!("无法使用 `{}`", path.display()),
        }
    }

    /// [`HubError::hint`] in Chinese.
    pub fn hint_zh(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { similar: Some(similar), .. } => format!("是否想输入 `{similar}`？"),
            Self::NotFound { name, .. } => match super::id_of(name) {
                Some(id) => format!(
                    "可用 `moss-cli download {id}` 下载，或手动将 config.json、vocab.json、merges.txt、added_tokens.json \
                     和 pytorch_model*.bin 放入 ./{id}；`--demo` 可立即试用本程序自带的微型模型"
                ),
                None => "请检查路径；`--demo` 可立即试用本程序自带的微型模型".into(),
            },
            Self::Write { .. } => "请将 XDG_CACHE_HOME 设为可写的文件夹".into(),
            Self::BadId { .. } => {
                "例如 `fnlp/moss-moon-003-sft-int4`，或短名称 `moss-moon-003-sft-int4`".into()
            }
            Self::Offline { .. } => {
                format!("请去掉 `--offline`（HF_HUB_OFFLINE），或{BY_HAND}；{DEMO}")
            },
            Self::BadEndpoint { .. } => {
                "例如 HF_ENDPOINT=https://hf-mirror.com；使用 `--source modelscope` 时为 MODELSCOPE_ENDPOINT=https://www.modelscope.cn".into()
            },
            Self::BadProxy { .. } => {
                "例如 HTTPS_PROXY=http://127.0.0.1:7890 或 ALL_PROXY=socks5://127.0.0.1:1080".into()
            }
            Self::Listing { .. } => {
                format!("请核对地址；也可能是网络的登录页或代理代替模型库作了应答；请{MIRROR}；或{BY_HAND}")
            }
            Self::Incomplete { .. } => format!("请{MIRROR}；或{BY_HAND}"),
            #[cfg(feature = "download")]
            Self::Transfer { fault, .. } => transfer_hint(fault),
            Self::Hash { .. } => {
                format!("收到的内容已丢弃；请重新运行，若仍不行，请{LOGIN}，或{MIRROR}，或{BY_HAND}")
            }
            Self::Space { copies: 1.., .. } => {
                "该文件系统不支持符号链接和硬链接，缓存中每个文件需存两份：请将 HF_HUB_CACHE 设为其他文件系统上的文件夹，或腾出空间".into()
            }
            Self::Space { .. } => "请腾出空间，或将 HF_HUB_CACHE 设为更大磁盘上的文件夹".into(),
            Self::Disk { .. } => "请将 HF_HUB_CACHE 设为有空间的磁盘上可写的文件夹".into(),
        })
    }
}

#[cfg(feature = "download")]
fn transfer_hint(fault: &Fault) -> String {
    let first = match fault {
        Fault::Status {
            status: 401 | 403, ..
        } => format!(
            "模型库拒绝访问：请核对名称，需要时设置 HF_TOKEN；若当前网络要求先登录，请{LOGIN}；也可"
        ),
        Fault::Status { status: 404, .. } => "请核对名称；也可".to_owned(),
        Fault::Status { status: 429, .. } => "模型库要求减少请求：请稍候再运行；也可".to_owned(),
        Fault::Html
        | Fault::Tls { .. }
        | Fault::Redirect(_)
        | Fault::Length { .. }
        | Fault::NoRanges
        | Fault::Status {
            status: 200..=299 | 511,
            ..
        } => format!("当前网络可能要求先登录：请{LOGIN}，然后重新运行；也可"),
        Fault::Connection(_) | Fault::Status { .. } => {
            format!("请重新运行，会从中断处继续；若当前网络要求先登录，请{LOGIN}；也可")
        }
        Fault::Unreachable { .. } => {
            return format!(
                "请检查本机的网络连接；HTTPS_PROXY 可设置代理；也可{MIRROR}；或{BY_HAND}；{DEMO}"
            );
        }
        _ => "请重新运行，会从中断处继续；也可".to_owned(),
    };
    format!("{first}{MIRROR}；HTTPS_PROXY 可设置代理；或{BY_HAND}")
}

/// Words that errors are made with.
fn phrase(en: &str) -> &str {
    match en {
        "is not there" => "不存在",
        "holds no snapshot" => "没有快照",
        "holds no complete snapshot" => "没有完整的快照",
        "weight file that its index speaks of" => "其索引所列的权重文件",
        "model*.safetensors or pytorch_model*.bin" => "model*.safetensors 或 pytorch_model*.bin",
        other => other,
    }
}

/// What is wrong with an address.
fn scheme(en: &str) -> String {
    let scheme = en
        .strip_prefix("scheme ")
        .and_then(|en| en.strip_suffix(", expected http or https"));
    scheme.map_or_else(
        || en.to_owned(),
        |scheme| format!("协议为 {scheme}，应为 http 或 https"),
    )
}
