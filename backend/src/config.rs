//! The settings of the backend, already read and checked.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use crewcall_proto::Topology;
use crewcall_webhooks::AllowedNetworks;

use crate::{domain::cause::DEPTH_MAX_DEFAULT, engine::upkeep::retention::Retention, http::HttpHosts};

/// What the backend is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// The broker: `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub amqp_url: String,
    /// What exchanges and queues begin with.
    pub amqp_prefix: Topology,
    /// Where jobs are kept.
    pub database: DatabaseUrl,
    /// Where HTTP is served; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// By which names it may be asked for over HTTP, beside its addresses and `localhost`.
    pub http_hosts: HttpHosts,
    /// For how long jobs are kept after they ended.
    pub retention: Retention,
    /// How many jobs may make each other by way of events, before nothing more is made.
    pub chain_jobs_max: u32,
    /// Whether several short orders may travel in one message, to workers that take them so.
    pub bundles: bool,
    /// Which networks besides the public internet webhooks may lead into.
    pub webhook_allow: AllowedNetworks,
    /// Whether to listen on other than loopback addresses although there is no authentication.
    pub insecure: bool,
}

impl Config {
    /// The broker of a local installation.
    pub const AMQP_URL_DEFAULT: &'static str = "amqp://127.0.0.1:5672/%2f";
    /// A file in the working directory.
    pub const DATABASE_URL_DEFAULT: &'static str = "sqlite://crewcall.db";
    /// Loopback only.
    pub const HTTP_LISTEN_DEFAULT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
}

impl Default for Config {
    fn default() -> Self {
        Self {
            amqp_url: Self::AMQP_URL_DEFAULT.to_owned(),
            amqp_prefix: Topology::default(),
            database: DatabaseUrl::Sqlite(PathBuf::from("crewcall.db")),
            http_listen: Self::HTTP_LISTEN_DEFAULT,
            http_hosts: HttpHosts::default(),
            retention: Retention::default(),
            chain_jobs_max: DEPTH_MAX_DEFAULT,
            bundles: true,
            webhook_allow: AllowedNetworks::default(),
            insecure: false,
        }
    }
}

/// Where jobs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://path`: a file, made when it is missing.
    Sqlite(PathBuf),
}

/// A text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no database: use sqlite:// followed by the path of a file, such as sqlite://crewcall.db"
)]
pub struct InvalidDatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err(InvalidDatabaseUrl(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_a_sqlite_file() {
        assert_eq!("sqlite://a/b.db".parse(), Ok(DatabaseUrl::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:///b.db".parse(), Ok(DatabaseUrl::Sqlite("/b.db".into())));
        for text in ["", "crewcall.db", "sqlite://", "mysql://x"] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        }
    }
}
