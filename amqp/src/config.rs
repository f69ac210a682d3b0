//! How to reach the broker, and how patient to be with it.

use std::{fmt, time::Duration};

use url::Url;

use crate::{LinkError, error::Reason};

/// How to reach the broker, and how patient to be with it. Publisher and consumer each get one.
///
/// Cheap to clone. `Debug` never shows the user name or the password.
#[derive(Clone)]
pub struct LinkConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS with the system's certificates. Without a path
    /// the virtual host is `/`; a `/` inside its name is written `%2f`. Port, user and password default to 5672
    /// (5671 for TLS), `guest` and `guest`.
    pub url: String,
    /// The name that the broker's tools show for this connection, for example `crewcall-backend publisher`.
    pub connection_name: String,
    /// The heartbeat we ask the broker for, in whole seconds; also how often an idle link is probed. Default 10 s.
    pub heartbeat: Duration,
    /// The longest that one request to the broker (connect, declare, subscribe, acknowledge) may take before the
    /// session is given up. Default 10 s.
    pub operation_timeout: Duration,
    /// How long the broker has to give a sign of life when [`suspect`](crate::Publisher::suspect) asks for one, before the
    /// session is given up. Default 3 s.
    pub suspect_timeout: Duration,
    /// The pause after the first failed attempt to connect. Default 200 ms.
    pub reconnect_min: Duration,
    /// The longest pause between two attempts, with its jitter. Default 3 s: a worker that comes to an empty broker
    /// before the backend needs two of them, and work shall go on within 15 s after the broker is back.
    pub reconnect_max: Duration,
}

impl LinkConfig {
    /// The configuration for `url` with every default. Nothing is checked here: see [`validate`](Self::validate).
    pub fn new(url: impl Into<String>, connection_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connection_name: connection_name.into(),
            heartbeat: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(10),
            suspect_timeout: Duration::from_secs(3),
            reconnect_min: Duration::from_millis(200),
            reconnect_max: Duration::from_secs(3),
        }
    }

    /// Checks the URL without connecting, so that a typing mistake is one clear line at start-up and not an endless
    /// reconnect.
    ///
    /// # Errors
    ///
    /// [`LinkError::InvalidUrl`] with what is wrong and what to write.
    pub fn validate(&self) -> Result<(), LinkError> {
        self.parse().map(drop)
    }

    /// The URL without user name and password, fit for logs and answers.
    pub fn redacted_url(&self) -> String {
        match self.parse() {
            Ok(mut url) => {
                // Both fail only for URLs that cannot have credentials, which then have none to hide.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.to_string()
            }
            Err(_) => "(not a valid broker URL)".to_owned(),
        }
    }

    /// `host:port`, for sentences about a broker that cannot be reached.
    pub(crate) fn address(&self) -> String {
        let Ok(url) = self.parse() else { return self.redacted_url() };
        let port = url.port().unwrap_or(if url.scheme() == "amqps" { 5671 } else { 5672 });
        format!("{}:{port}", url.host_str().unwrap_or("localhost"))
    }

    /// The URL in the client library's form, with our heartbeat.
    pub(crate) fn uri(&self) -> Result<lapin::uri::AMQPUri, LinkError> {
        let url = self.parse()?;
        let mut uri: lapin::uri::AMQPUri =
            self.url.parse().map_err(|reason: String| invalid(Reason::new(reason)))?;
        if let Some(url::Host::Ipv6(address)) = url.host() {
            // The client library drops a bracketed address and would connect to localhost instead.
            uri.authority.host = address.to_string();
        }
        let seconds = self.heartbeat.as_secs().clamp(1, u64::from(u16::MAX));
        uri.query.heartbeat = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        Ok(uri)
    }

    fn parse(&self) -> Result<Url, LinkError> {
        let url =
            Url::parse(&self.url).map_err(|error| invalid(Reason::from_error(error.to_string(), error)))?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err(invalid(Reason::new(format!("the scheme is `{}`", url.scheme()))));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid(Reason::new("the host is missing")));
        }
        Ok(url)
    }
}

impl fmt::Debug for LinkConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LinkConfig")
            .field("url", &self.redacted_url())
            .field("connection_name", &self.connection_name)
            .field("heartbeat", &self.heartbeat)
            .field("operation_timeout", &self.operation_timeout)
            .field("suspect_timeout", &self.suspect_timeout)
            .field("reconnect_min", &self.reconnect_min)
            .field("reconnect_max", &self.reconnect_max)
            .finish()
    }
}

fn invalid(reason: Reason) -> LinkError {
    LinkError::InvalidUrl(reason.within(|reason| {
        format!("the broker URL is not valid ({reason}): write it like amqp://user:password@host:5672/vhost")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_appear_neither_in_debug_nor_in_the_redacted_url() {
        let config = LinkConfig::new("amqp://someone:hunter2@broker.example:5673/jobs", "test");
        assert_eq!(config.redacted_url(), "amqp://broker.example:5673/jobs");
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("someone"), "{shown}");
        assert_eq!(config.address(), "broker.example:5673");
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_with_what_to_write() {
        for url in ["", "broker:5672", "http://broker/", "amqp:///vhost", "localhost"] {
            let config = LinkConfig::new(url, "test");
            let message = config.validate().expect_err(url).to_string();
            assert!(message.contains("amqp://user:password@host:5672/vhost"), "{message}");
        }
    }

    #[test]
    fn an_ipv6_host_is_kept() {
        let config = LinkConfig::new("amqp://[2001:db8::1]:5672/%2f", "test");
        assert_eq!(config.uri().unwrap().authority.host, "2001:db8::1");
        assert_eq!(config.uri().unwrap().vhost, "/");
    }

    #[test]
    fn the_heartbeat_is_ours_whatever_the_url_says() {
        let mut config = LinkConfig::new("amqp://localhost?heartbeat=60", "test");
        config.heartbeat = Duration::from_millis(200);
        assert_eq!(config.uri().unwrap().query.heartbeat, Some(1));
    }
}
