//! Whom may be connected to: the public internet, and what the operator opens.

use std::{net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::Url;

/// The IPv4 networks that are not the public internet (IANA's registry of special-purpose addresses, RFC 6890,
/// and multicast, RFC 5771): this machine, its neighbours, its cloud's metadata service.
const NOT_PUBLIC_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// All of IPv6's global unicast addresses (RFC 4291). What lies outside is loopback, link-local, private, multicast,
/// or leads into an IPv4 network (`64:ff9b::/96`).
const UNICAST_V6: ([u16; 8], u8) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The networks within [`UNICAST_V6`] that are not the public internet (IANA's registry): protocol assignments with
/// Teredo, documentation, and 6to4, which leads into an IPv4 network.
const NOT_PUBLIC_V6: [([u16; 8], u8); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// What may be connected to besides the public internet. The default is nothing: whoever names a URL is not somebody
/// who may look around in the program's own network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks {
    networks: Vec<IpNet>,
    everything: bool,
}

/// A word in the list of an operator that is neither an address nor a network. Whoever read the list says before it where
/// it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither an IP address nor a network; write for instance 127.0.0.1,10.0.0.0/8,fd00::/8, or * for everything"
)]
pub struct NotANetwork(String);

/// An address that may not be connected to. [`opened_by`](Self::opened_by) says what could be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address of the public internet")]
pub struct AddressRefused {
    address: IpAddr,
}

impl AddressRefused {
    /// The refusal as a sentence for people, with the setting that would open the address: of which `program` ("a worker"),
    /// and in which `variable`.
    #[must_use]
    pub fn opened_by(&self, program: &str, variable: &str) -> String {
        format!("{self}; {program} with {variable}={} would connect to it", self.address)
    }
}

impl FromStr for AllowedNetworks {
    type Err = NotANetwork;

    /// Reads addresses and networks separated by commas; `*` opens everything.
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let mut allowed = Self::default();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word == "*" {
                allowed.everything = true;
                continue;
            }
            let network = word.parse::<IpNet>().or_else(|_| word.parse::<IpAddr>().map(IpNet::from));
            allowed.networks.push(network.map_err(|_| NotANetwork(word.to_owned()))?);
        }
        Ok(allowed)
    }
}

impl AllowedNetworks {
    /// Whether every address may be connected to.
    pub(crate) const fn is_everything(&self) -> bool {
        self.everything
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    ///
    /// [`AddressRefused`] when it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        // An IPv4 address in the clothes of IPv6 (`::ffff:127.0.0.1`) is reached over IPv4.
        let address = address.to_canonical();
        let open = self.everything
            || is_public(address)
            || self.networks.iter().any(|network| network.contains(&address));
        if open { Ok(()) } else { Err(AddressRefused { address }) }
    }

    /// Whether an operator opened what this URL leads to. A name may lead anywhere: it counts as opened if anything is.
    #[must_use]
    pub fn opens(&self, url: &Url) -> bool {
        self.everything
            || match literal_address(url).map(|address| address.to_canonical()) {
                Some(address) => self.networks.iter().any(|network| network.contains(&address)),
                None => !self.networks.is_empty(),
            }
    }

    /// Whether the URL may be connected to, as far as that can be told without resolving its host: what is not an
    /// address is a name, which passes.
    ///
    /// # Errors
    ///
    /// When the URL's host is an address that may not be connected to.
    pub fn check_literal(&self, url: &Url) -> Result<(), AddressRefused> {
        literal_address(url).map_or(Ok(()), |address| self.check(address))
    }
}

fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4
            .iter()
            .any(|(network, length)| Ipv4Net::new_assert((*network).into(), *length).contains(&address)),
        IpAddr::V6(address) => {
            let within = |(network, length): &([u16; 8], u8)| {
                Ipv6Net::new_assert((*network).into(), *length).contains(&address)
            };
            within(&UNICAST_V6) && !NOT_PUBLIC_V6.iter().any(within)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(list: &str, address: &str) -> bool {
        list.parse::<AllowedNetworks>().unwrap().check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_the_public_internet_is_open() {
        for address in ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "172.32.0.1"] {
            assert!(open("", address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(!open("", address), "{address}");
        }
    }

    #[test]
    fn the_operator_opens_addresses_and_networks() {
        assert!(open("127.0.0.1", "127.0.0.1") && !open("127.0.0.1", "127.0.0.2"));
        assert!(open("127.0.0.1", "::ffff:127.0.0.1"), "the same address, reached the same way");
        assert!(open(" 10.0.0.0/8 , fd00::/8", "10.9.8.7") && open("10.0.0.0/8,fd00::/8", "fd12::1"));
        assert!(!open("10.0.0.0/8", "192.168.0.1"));
        assert!(open("*", "127.0.0.1") && open("*", "fe80::1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for list in ["localhost", "10.0.0.0/33", "10.0.0.0/8;127.0.0.1", "http://127.0.0.1"] {
            let error = list.parse::<AllowedNetworks>().unwrap_err().to_string();
            assert!(
                error.starts_with("'")
                    && error.contains("' is neither")
                    && error.contains("127.0.0.1,10.0.0.0/8"),
                "{error}"
            );
        }
    }
}
