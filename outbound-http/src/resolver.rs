use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::AllowedNetworks;

/// Resolves names as the system does, and keeps the addresses that may be connected to. The check stands here, where
/// the connection is made with what it lets through: a name that is checked beforehand can be another one when it is
/// resolved again (DNS rebinding).
#[derive(Clone, Debug)]
pub(crate) struct CheckingResolver {
    pub(crate) allowed: AllowedNetworks,
}

impl Resolve for CheckingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let mut open = Vec::new();
            let mut refused = None;
            for address in tokio::net::lookup_host((name.as_str(), 0)).await? {
                match allowed.check(address.ip()) {
                    Ok(()) => open.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(refused) if open.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(open.into_iter()) as Addrs),
            }
        })
    }
}
