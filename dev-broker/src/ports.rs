//! Free ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use crate::DevBrokerError;

/// The ports of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) amqp: u16,
    /// Where `rabbitmqctl` talks to the node.
    pub(crate) distribution: u16,
    /// The node's own name service.
    pub(crate) epmd: u16,
}

/// The port of a system-wide broker, which is never ours.
const SYSTEM_BROKER: u16 = 5672;

impl Ports {
    /// Three ports that are free right now, the preferred one for AMQP if it is. Another process may still be faster: whoever
    /// uses them must be ready to try others.
    pub(crate) fn choose(preferred: Option<u16>) -> Result<Self, DevBrokerError> {
        let mut found = Vec::with_capacity(3);
        let kept = preferred.filter(|port| *port != SYSTEM_BROKER);
        if let Some(port) = kept
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            found.push((listener, port));
        }
        // All are held until all are found, so that they differ.
        while found.len() < 3 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .map_err(DevBrokerError::io("find a free port"))?;
            let port = listener.local_addr().map_err(DevBrokerError::io("find a free port"))?.port();
            if port != SYSTEM_BROKER {
                found.push((listener, port));
            }
        }
        Ok(Self { amqp: found[0].1, distribution: found[1].1, epmd: found[2].1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_differ_and_are_free() {
        let ports = Ports::choose(None).unwrap();
        let all = [ports.amqp, ports.distribution, ports.epmd];
        let listeners: Vec<_> =
            all.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap()).collect();
        assert_eq!(listeners.len(), 3);
        drop(listeners);
        assert_eq!(Ports::choose(Some(ports.amqp)).unwrap().amqp, ports.amqp, "kept while it is free");
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.amqp)).unwrap();
        assert_ne!(Ports::choose(Some(ports.amqp)).unwrap().amqp, ports.amqp);
    }
}
