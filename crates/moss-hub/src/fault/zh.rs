//! The same in Chinese.

use super::Fault;

impl Fault {
    /// The fault in Chinese, with the same names and numbers.
    pub fn zh(&self) -> String {
        match self {
            Self::Status { status, .. } => format!("HTTP 状态码 {status}"),
            Self::Connection(why) => match cut_off(why) {
                Some(bytes) => format!("在结束前 {bytes} 字节处断开"),
                None => format!("连接失败：{why}"),
            },
            Self::Unreachable { host, reason } => {
                let (host, proxy) = match host.split_once(" (through the proxy)") {
                    Some((host, _)) => (host, "（经由代理）"),
                    None => (host.as_str(), ""),
                };
                format!("无法连接 {host}{proxy}：{}", unreachable(reason))
            }
            Self::Tls { host, reason } => format!("无法与 {host} 建立安全连接：{reason}"),
            Self::Stalled { bytes, seconds } => {
                format!("停滞：{seconds:.1} 秒内只收到 {bytes} 字节")
            }
            Self::Html => "收到的是 HTML 网页，而不是文件".into(),
            Self::Length { found, expected } => {
                format!("对方的文件有 {found} 字节，应为 {expected}")
            }
            Self::Range { expected, found } => format!("请求字节 {expected}，收到的是 `{found}`"),
            Self::NoRanges => "服务器不理会 Range 请求".into(),
            Self::Changed { found, expected } => {
                format!("对方文件的哈希为 {found}，应为 {expected}")
            }
            Self::Redirect(to) => {
                let times = to
                    .strip_prefix("more than ")
                    .and_then(|rest| rest.strip_suffix(" times"));
                match (times, to.strip_prefix("to ")) {
                    (Some(times), _) => format!("重定向超过 {times} 次"),
                    (_, Some(address)) => format!("被重定向到 {address}"),
                    _ => format!("被重定向：{to}"),
                }
            }
        }
    }
}

fn cut_off(why: &str) -> Option<&str> {
    why.strip_prefix("cut off ")?
        .strip_suffix(" bytes before the end")
}

/// Why no connection could be made.
fn unreachable(why: &str) -> &str {
    match why {
        "the name cannot be resolved" => "无法解析该域名",
        "connection refused" => "连接被拒绝",
        "the network is unreachable" => "网络不可达",
        "no answer" => "没有应答",
        other => other,
    }
}
