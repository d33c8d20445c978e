//! What `serve` says when it starts.

use crate::addresses::{Tunnel, Url};

#[derive(Debug, Clone, Copy)]
pub(crate) enum ServeMessage<'a> {
    Listening(&'a Url),
    KeyRequired,
    /// `beyond`: other machines can connect.
    NoKey {
        beyond: bool,
    },
    Tunnel(&'a Tunnel),
}

impl ServeMessage<'_> {
    pub(super) fn texts(self) -> (String, String) {
        match self {
            Self::Listening(Url { url, interface: None }) => (
                format!("listening on {url} (the page; the API is under /v1, its description under /docs)"),
                format!("正在监听 {url} （网页；API 在 /v1 下，说明见 /docs）"),
            ),
            Self::Listening(Url { url, interface: Some(interface) }) => {
                (format!("listening on {url} ({interface})"), format!("正在监听 {url} （{interface}）"))
            }
            Self::KeyRequired => (
                "API key: required (`Authorization: Bearer KEY`; the page asks for it)".into(),
                "API 密钥：需要（`Authorization: Bearer 密钥`；网页会询问）".into(),
            ),
            Self::NoKey { beyond: false } => ("API key: not required".into(), "API 密钥：不需要".into()),
            Self::NoKey { beyond: true } => (
                "API key: not required; anyone who can connect to these addresses can use this server".into(),
                "API 密钥：不需要；任何能连接到以上地址的人都可以使用本服务".into(),
            ),
            Self::Tunnel(Tunnel { command, url }) => (
                format!("from another machine: `{command}`, then open {url} there"),
                format!("从其他机器访问：运行 `{command}`，然后在那台机器上打开 {url}"),
            ),
        }
    }
}
