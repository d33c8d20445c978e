//! The URLs of a server's addresses, and an SSH tunnel to its loopback interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::IfOperStatus;

/// A network interface's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    pub(crate) interface: String,
    pub(crate) ip: IpAddr,
}

/// An address that a browser can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) url: String,
    /// The interface's name. `None` for a host name, or if the server listens on this address only.
    pub(crate) interface: Option<String>,
}

/// Returns the addresses of the interfaces that are up. The list is empty after an error, because
/// loopback is added in any case.
pub(crate) fn interfaces() -> Vec<InterfaceAddress> {
    let found = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let up =
        found.filter(|found| matches!(found.oper_status, IfOperStatus::Up | IfOperStatus::Unknown));
    up.map(|found| InterfaceAddress {
        ip: found.ip(),
        interface: found.name,
    })
    .collect()
}

/// Returns an address as the host of a URL or a `Host` header: IPv6 addresses in brackets.
pub(crate) fn url_host(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Returns every URL of a server that listens on `bound`, loopback first. `dual_stack` is true for
/// an IPv6 socket that also accepts IPv4. `hosts` are the accepted values of the `Host` header, if
/// they are restricted.
pub(crate) fn urls(
    bound: SocketAddr,
    dual_stack: bool,
    interfaces: &[InterfaceAddress],
    hosts: Option<&[String]>,
) -> Vec<Url> {
    let (listens, port) = (bound.ip().to_canonical(), bound.port());
    let url = |host: &str, interface| Url {
        url: format!("http://{host}:{port}"),
        interface,
    };
    let answers = |host: &str| {
        hosts.is_none_or(|hosts| hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
    };
    if !listens.is_unspecified() {
        return vec![url(&url_host(listens), None)];
    }
    let takes = |ip: IpAddr| {
        if ip.is_ipv4() {
            listens.is_ipv4() || dual_stack
        } else {
            listens.is_ipv6()
        }
    };
    let loopback = match takes(Ipv4Addr::LOCALHOST.into()) {
        true => IpAddr::from(Ipv4Addr::LOCALHOST),
        false => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let mut addresses: Vec<_> = interfaces
        .iter()
        .map(|found| (found.ip.to_canonical(), Some(found.interface.clone())))
        .filter(|(ip, _)| takes(*ip) && !ip.is_loopback() && is_reachable(*ip))
        .collect();
    addresses.sort_by_key(|(ip, _)| ip.is_ipv6()); // stable: otherwise in the system's order
    addresses.insert(0, (loopback, None));
    let mut found: Vec<Url> = Vec::new();
    for (ip, interface) in addresses {
        let next = url(&url_host(ip), interface);
        if answers(&url_host(ip)) && found.iter().all(|known| known.url != next.url) {
            found.push(next);
        }
    }
    // Host names do not belong to an interface.
    let is_name = |host: &&String| {
        host.parse::<IpAddr>().is_err() && !host.starts_with('[') && *host != "localhost"
    };
    found.extend(
        hosts
            .unwrap_or_default()
            .iter()
            .filter(is_name)
            .map(|name| url(name, None)),
    );
    found
}

/// Returns false for addresses that a URL cannot name. Browsers do not accept the scope that
/// link-local addresses need.
fn is_reachable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.is_unspecified() && !ip.is_multicast()
}

/// An SSH tunnel from another machine to a server on this machine's loopback interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// The command to run on the other machine.
    pub(crate) command: String,
    /// The URL to open there.
    pub(crate) url: String,
}

/// The user and host for an SSH login, as far as this machine knows them.
#[derive(Debug, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
    /// `SSH_CONNECTION`: addresses and ports of the session that started this program, the client's
    /// first.
    pub(crate) connection: Option<String>,
}

/// Lower ports need root on the other machine.
const FIRST_UNPRIVILEGED: u16 = 1024;
/// The local port that replaces a privileged one.
const UNPRIVILEGED: u16 = 8888;

impl Tunnel {
    /// Returns `None` if the server does not listen on loopback.
    pub(crate) fn to(bound: SocketAddr, login: &Login) -> Option<Self> {
        let ip = bound.ip().to_canonical();
        if !ip.is_loopback() {
            return None;
        }
        let port = bound.port();
        let local = if port < FIRST_UNPRIVILEGED {
            UNPRIVILEGED
        } else {
            port
        };
        let target = format!("{local}:{}:{port}", url_host(ip));
        Some(Self {
            command: format!("ssh -L {target} {}", login.destination()),
            url: format!("http://localhost:{local}"),
        })
    }
}

impl Login {
    /// Returns `[-p PORT] USER@HOST`, with these words for unknown values.
    fn destination(&self) -> String {
        let plain = |text: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
            !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain)
        };
        let mut connection = self
            .connection
            .as_deref()
            .unwrap_or_default()
            .split_whitespace()
            .skip(2);
        let reached = connection.next().filter(plain).zip(connection.next());
        let user = self.user.as_deref().filter(plain).unwrap_or("USER");
        let host = reached
            .map(|(host, _)| host)
            .or(self.host.as_deref().filter(plain))
            .unwrap_or("HOST");
        match reached
            .and_then(|(_, port)| port.parse::<u16>().ok())
            .filter(|port| *port != 22)
        {
            Some(port) => format!("-p {port} {user}@{host}"),
            None => format!("{user}@{host}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<InterfaceAddress> {
        let found = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "2001:db8::7"),
            ("eth0", "fe80::1"),
            ("eth0", "192.0.2.7"),
            ("eth1", "169.254.3.4"),
            ("wlan0", "198.51.100.9"),
            ("wlan0:1", "198.51.100.9"),
        ];
        let address = |(name, ip): (&str, &str)| InterfaceAddress {
            interface: name.into(),
            ip: ip.parse().unwrap(),
        };
        found.map(address).to_vec()
    }

    fn shown(bound: &str, dual_stack: bool, hosts: Option<&[&str]>) -> Vec<String> {
        let hosts: Option<Vec<_>> =
            hosts.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect());
        let urls = urls(
            bound.parse().unwrap(),
            dual_stack,
            &interfaces(),
            hosts.as_deref(),
        );
        urls.into_iter()
            .map(|found| {
                found
                    .interface
                    .map_or(found.url.clone(), |name| format!("{} {name}", found.url))
            })
            .collect()
    }

    #[test]
    fn every_address_of_a_wildcard_is_a_url_and_link_local_ones_are_left_out() {
        let v4 = [
            "http://127.0.0.1:80",
            "http://192.0.2.7:80 eth0",
            "http://198.51.100.9:80 wlan0",
        ]
        .map(String::from);
        let v6 = "http://[2001:db8::7]:80 eth0".to_owned();
        assert_eq!(shown("0.0.0.0:80", false, None), v4);
        assert_eq!(shown("[::ffff:0.0.0.0]:80", true, None), v4);
        assert_eq!(
            shown("[::]:80", true, None),
            [&v4[..], std::slice::from_ref(&v6)].concat()
        );
        assert_eq!(
            shown("[::]:80", false, None),
            ["http://[::1]:80".to_owned(), v6]
        );
    }

    #[test]
    fn one_address_is_one_url_with_brackets_for_ipv6() {
        assert_eq!(
            shown("127.0.0.1:8888", false, None),
            ["http://127.0.0.1:8888"]
        );
        assert_eq!(shown("[::1]:8888", false, None), ["http://[::1]:8888"]);
        assert_eq!(shown("192.0.2.7:1", false, None), ["http://192.0.2.7:1"]);
        assert_eq!(
            shown("[2001:db8::7]:1", false, None),
            ["http://[2001:db8::7]:1"]
        );
    }

    #[test]
    fn urls_that_the_host_check_refuses_are_not_shown_and_allowed_names_are() {
        let hosts = ["localhost", "127.0.0.1", "[::1]", "moss.example"];
        assert_eq!(
            shown("0.0.0.0:80", false, Some(&hosts)),
            ["http://127.0.0.1:80", "http://moss.example:80"]
        );
    }

    #[test]
    fn a_tunnel_leads_to_loopback_alone_and_names_the_session_it_was_started_in() {
        let to = |bound: &str, login: &Login| Tunnel::to(bound.parse().unwrap(), login);
        let none = Login::default();
        assert_eq!(to("0.0.0.0:8888", &none), None);
        assert_eq!(to("192.0.2.7:8888", &none), None);
        let command = |bound: &str, login: &Login| to(bound, login).unwrap().command;
        assert_eq!(
            command("127.0.0.1:8888", &none),
            "ssh -L 8888:127.0.0.1:8888 USER@HOST"
        );
        assert_eq!(
            command("[::1]:8888", &none),
            "ssh -L 8888:[::1]:8888 USER@HOST"
        );
        let named = Login {
            user: Some("me".into()),
            host: Some("gpu-1".into()),
            connection: None,
        };
        assert_eq!(
            command("127.0.0.1:9000", &named),
            "ssh -L 9000:127.0.0.1:9000 me@gpu-1"
        );
        let session = Login {
            connection: Some("198.51.100.1 5000 192.0.2.7 2222".into()),
            ..named
        };
        assert_eq!(
            command("127.0.0.1:9000", &session),
            "ssh -L 9000:127.0.0.1:9000 -p 2222 me@192.0.2.7"
        );
        let port_80 = to("127.0.0.1:80", &none).unwrap();
        assert_eq!(port_80.command, "ssh -L 8888:127.0.0.1:80 USER@HOST");
        assert_eq!(port_80.url, "http://localhost:8888");
    }

    #[test]
    fn names_that_a_shell_would_interpret_are_not_printed() {
        let login = Login {
            user: Some("a;b".into()),
            host: Some("-oProxyCommand=x".into()),
            connection: Some("x y \u{1b}[2J 22".into()),
        };
        assert_eq!(login.destination(), "USER@HOST");
    }
}
