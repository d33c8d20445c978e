//! Addresses that a request may connect to.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};
use url::Url;

/// Resolves names to public addresses. The configured server may have any address.
///
/// The addresses are checked here and not in the URL, because a public name may have a private
/// address.
#[derive(Debug)]
pub(super) struct PublicResolver {
    inner: DefaultResolver,
    /// Host and port of the configured server.
    own: (String, Option<u16>),
}

impl PublicResolver {
    pub(super) fn new(own: &Url) -> Self {
        let host = own.host_str().unwrap_or_default().to_owned();
        Self {
            inner: DefaultResolver::default(),
            own: (host, own.port_or_known_default()),
        }
    }

    fn is_own(&self, uri: &Uri) -> bool {
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        });
        (uri.host(), port) == (Some(self.own.0.as_str()), self.own.1)
    }
}

impl Resolver for PublicResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.is_own(uri) {
            return Ok(found);
        }
        match found
            .iter()
            .map(|address| address.ip())
            .find(|ip| !is_public(*ip))
        {
            Some(ip) => Err(Error::Io(io::Error::other(Refusal(ip)))),
            None => Ok(found),
        }
    }
}

/// The error of a name with an address that is not public.
#[derive(Debug)]
struct Refusal(IpAddr);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refusal {}

/// Returns true if the error is that of an address that is not public.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Refusal>())
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b); // carrier-grade NAT
    let is_benchmark = a == 198 && (18..20).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    !(a == 0
        || a >= 224 // multicast, reserved, broadcast
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local() // with the metadata servers of clouds
        || ip.is_documentation()
        || is_shared
        || ip.octets() == [168, 63, 129, 16] // the host of Azure's machines
        || is_benchmark
        || is_protocol)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // Addresses that contain an IPv4 address: mapped, NAT64, 6to4.
    let low = || Ipv4Addr::from((u32::from(segments[6]) << 16) | u32::from(segments[7]));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(low()),
        [0x2002, high, next, ..] => {
            is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(next)))
        }
        // Only 2000::/3 is public, without the documentation prefix and Teredo.
        [0x2001, 0xdb8 | 0, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        let public = [
            "1.1.1.1",
            "93.184.215.14",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ];
        for ip in public {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        let local = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
        ];
        for ip in local {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
