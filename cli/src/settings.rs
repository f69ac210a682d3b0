//! The settings of `serve`: flags over `CREWCALL_*` variables over `crewcall.toml` over defaults.
//!
//! | flag | variable | key in `crewcall.toml` | default |
//! | --- | --- | --- | --- |
//! | `--amqp-url` | `CREWCALL_AMQP_URL` | `amqp_url` | `amqp://127.0.0.1:5672/%2f` |
//! | `--amqp-prefix` | `CREWCALL_AMQP_PREFIX` | `amqp_prefix` | `crewcall` |
//! | `--database-url` | `CREWCALL_DATABASE_URL` | `database_url` | `sqlite://crewcall.db` |
//! | `--http-listen` | `CREWCALL_HTTP_LISTEN` | `http_listen` | `127.0.0.1:8080` |
//! | `--http-hosts` | `CREWCALL_HTTP_HOSTS` | `http_hosts` | none |
//! | `--retention-completed` | `CREWCALL_RETENTION_COMPLETED` | `retention_completed` | `14d` |
//! | `--retention-failed` | `CREWCALL_RETENTION_FAILED` | `retention_failed` | `14d` |
//! | `--retention-cancelled` | `CREWCALL_RETENTION_CANCELLED` | `retention_cancelled` | `14d` |
//! | `--retention-types` | `CREWCALL_RETENTION_TYPES` | `retention_types` | `30d` |
//! | `--insecure` | `CREWCALL_INSECURE` | `insecure` | `false` |
//! | `--log` | `CREWCALL_LOG` | `log` | `info` |
//! | `--log-format` | `CREWCALL_LOG_FORMAT` | `log_format` | `text` |

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use crewcall_backend::{Config, DatabaseUrl, HttpHosts, engine::upkeep::retention::Retention};
use crewcall_proto::Topology;
use serde::Deserialize;

use crate::{duration, log_filter};

/// What is logged when nothing says otherwise: one line per thing that an operator wants to know.
pub(crate) const LOG_DEFAULT: &str = "info,lapin=off";

/// For how long jobs are kept after they ended, when nothing says otherwise.
const RETENTION_DEFAULT: &str = "14d";

/// For how long types are kept that nobody uses, when nothing says otherwise.
const RETENTION_TYPES_DEFAULT: &str = "30d";

/// The flags of `serve`. Texts, because a flag is judged in the same place as a variable.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeFlags {
    /// The broker.
    #[arg(long, value_name = "URL", help = with_places("The broker, as amqp://user:password@host:port/vhost", "AMQP_URL", Config::AMQP_URL_DEFAULT))]
    pub(crate) amqp_url: Option<String>,
    /// What the names of our exchanges and queues start with.
    #[arg(long, value_name = "PREFIX", help = with_places("Prefix of the names of exchanges and queues", "AMQP_PREFIX", Topology::DEFAULT_PREFIX))]
    pub(crate) amqp_prefix: Option<String>,
    /// Where jobs are kept.
    #[arg(long, value_name = "URL", help = with_places("Where jobs are kept", "DATABASE_URL", Config::DATABASE_URL_DEFAULT))]
    pub(crate) database_url: Option<String>,
    /// Where the HTTP API listens.
    #[arg(long, value_name = "ADDRESS:PORT", help = with_places("Where the HTTP API listens; port 0 takes a free one", "HTTP_LISTEN", Config::HTTP_LISTEN_DEFAULT))]
    pub(crate) http_listen: Option<String>,
    /// By which names the HTTP API may be asked for.
    #[arg(long, value_name = "NAMES", help = with_places("Host names under which the HTTP API may be reached, beside its addresses and localhost; separated by commas", "HTTP_HOSTS", "none"))]
    pub(crate) http_hosts: Option<String>,
    /// For how long completed jobs are kept.
    #[arg(long, value_name = "DURATION", help = with_places("How long completed jobs are kept, or forever", "RETENTION_COMPLETED", RETENTION_DEFAULT))]
    pub(crate) retention_completed: Option<String>,
    /// For how long failed jobs are kept.
    #[arg(long, value_name = "DURATION", help = with_places("How long failed jobs are kept, or forever", "RETENTION_FAILED", RETENTION_DEFAULT))]
    pub(crate) retention_failed: Option<String>,
    /// For how long cancelled jobs are kept.
    #[arg(long, value_name = "DURATION", help = with_places("How long cancelled jobs are kept, or forever", "RETENTION_CANCELLED", RETENTION_DEFAULT))]
    pub(crate) retention_cancelled: Option<String>,
    /// For how long types are kept that nobody uses.
    #[arg(long, value_name = "DURATION", help = with_places("How long job types without jobs and workers are kept, or forever", "RETENTION_TYPES", RETENTION_TYPES_DEFAULT))]
    pub(crate) retention_types: Option<String>,
    /// Listen beyond this machine.
    #[arg(long, help = with_places("Listen beyond this machine although the API has no authentication yet", "INSECURE", false))]
    pub(crate) insecure: bool,
    /// What to log.
    #[arg(long, value_name = "FILTER", help = with_places("What to log: a level, or levels by module", "LOG", LOG_DEFAULT))]
    pub(crate) log: Option<String>,
    /// How to log.
    #[arg(long, value_name = "FORM", help = with_places("How to log: text or json", "LOG_FORMAT", "text"))]
    pub(crate) log_format: Option<String>,
    /// The file with the settings [default: crewcall.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// A flag's help with the other places where the setting can stand. Not clap's own: a variable must not
/// count as a flag, so that mistakes name the place where they are.
fn with_places(what: &str, variable: &str, default: impl fmt::Display) -> String {
    format!("{what} [env: CREWCALL_{variable}] [default: {default}]")
}

/// The settings of `serve`, read and checked. Not `Debug`: the broker's URL may hold a password.
pub(crate) struct ServeSettings {
    /// What the backend is built from.
    pub(crate) backend: Config,
    /// What is logged.
    pub(crate) log: LogSettings,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// A level, or levels by module, as `tracing_subscriber::EnvFilter` reads them.
    pub(crate) filter: String,
    /// How a line looks.
    pub(crate) format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// `crewcall.toml`: one key per setting, all optional.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsFile {
    amqp_url: Option<String>,
    amqp_prefix: Option<String>,
    database_url: Option<String>,
    http_listen: Option<String>,
    http_hosts: Option<Names>,
    retention_completed: Option<String>,
    retention_failed: Option<String>,
    retention_cancelled: Option<String>,
    retention_types: Option<String>,
    insecure: Option<bool>,
    log: Option<String>,
    log_format: Option<String>,
}

/// Names in `crewcall.toml`: an array, or one text with commas, as in the other places.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "http_hosts is an array of names, or one string of names separated by commas")]
enum Names {
    Text(String),
    Array(Vec<String>),
}

impl Names {
    fn joined(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Array(names) => names.join(","),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A value that its setting does not take.
    #[error("{origin}: {reason}")]
    Value {
        /// Where the value was written: a flag, a variable, a key of the file.
        origin: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// The file cannot be read.
    #[error("cannot read the settings file '{path}': {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl SettingsFile {
    /// Reads the text of a settings file.
    ///
    /// # Errors
    ///
    /// [`SettingsError::File`] for what is not TOML, and for an unknown key, by name.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, SettingsError> {
        // The parser's own report draws the line with an arrow: it is for terminals, so it goes below.
        toml::from_str(text).map_err(|error| SettingsError::File {
            path: path.to_owned(),
            reason: match error.span() {
                Some(span) => {
                    let line = text[..span.start].matches('\n').count() + 1;
                    format!("line {line}: {}", error.message())
                }
                None => error.message().to_owned(),
            },
        })
    }
}

impl ServeSettings {
    /// Puts the settings together: a pure function of the flags, a lookup for variables, and the file.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] at the first value that cannot be used, naming where it was written.
    pub(crate) fn resolve(
        flags: &ServeFlags,
        variable: impl Fn(&str) -> Option<String>,
        file: &SettingsFile,
    ) -> Result<Self, SettingsError> {
        let pick = |key: &str, flag: &Option<String>, file: &Option<String>| {
            Setting::pick(key, flag.as_deref(), &variable, file.as_deref())
        };
        // A flag without a value can only say yes.
        let insecure_flag = flags.insecure.then(|| "true".to_owned());
        let insecure_file = file.insecure.map(|insecure| insecure.to_string());
        let http_hosts_file = file.http_hosts.as_ref().map(Names::joined);
        let defaults = Config::default();
        Ok(Self {
            backend: Config {
                amqp_url: pick("amqp_url", &flags.amqp_url, &file.amqp_url)
                    .read(defaults.amqp_url, read_text)?,
                amqp_prefix: pick("amqp_prefix", &flags.amqp_prefix, &file.amqp_prefix)
                    .read(defaults.amqp_prefix, Topology::from_str)?,
                database: pick("database_url", &flags.database_url, &file.database_url)
                    .read(defaults.database, DatabaseUrl::from_str)?,
                http_listen: pick("http_listen", &flags.http_listen, &file.http_listen)
                    .read(defaults.http_listen, read_address)?,
                http_hosts: pick("http_hosts", &flags.http_hosts, &http_hosts_file)
                    .read(defaults.http_hosts, HttpHosts::from_str)?,
                retention: Retention {
                    completed: pick(
                        "retention_completed",
                        &flags.retention_completed,
                        &file.retention_completed,
                    )
                    .read(defaults.retention.completed, read_retention)?,
                    failed: pick("retention_failed", &flags.retention_failed, &file.retention_failed)
                        .read(defaults.retention.failed, read_retention)?,
                    cancelled: pick(
                        "retention_cancelled",
                        &flags.retention_cancelled,
                        &file.retention_cancelled,
                    )
                    .read(defaults.retention.cancelled, read_retention)?,
                    types: pick("retention_types", &flags.retention_types, &file.retention_types)
                        .read(defaults.retention.types, read_retention)?,
                },
                insecure: pick("insecure", &insecure_flag, &insecure_file)
                    .read(defaults.insecure, read_bool)?,
            },
            log: LogSettings {
                filter: pick("log", &flags.log, &file.log).read(LOG_DEFAULT.to_owned(), log_filter::read)?,
                format: pick("log_format", &flags.log_format, &file.log_format)
                    .read(LogFormat::Text, read_log_format)?,
            },
        })
    }
}

/// One setting as it was written, and where; or not written at all.
struct Setting(Option<(String, String)>);

impl Setting {
    /// The strongest of the three places.
    fn pick(
        key: &str,
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
        file: Option<&str>,
    ) -> Self {
        if let Some(text) = flag {
            return Self(Some((format!("--{}", key.replace('_', "-")), text.to_owned())));
        }
        let name = format!("CREWCALL_{}", key.to_uppercase());
        // `NAME=` is how some shells and unit files say "not set".
        if let Some(text) = variable(&name).filter(|text| !text.is_empty()) {
            return Self(Some((name, text)));
        }
        Self(file.map(|text| (format!("'{key}' in the settings file"), text.to_owned())))
    }

    fn read<T, E: fmt::Display>(
        self,
        default: T,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, SettingsError> {
        let Self(Some((origin, text))) = self else { return Ok(default) };
        read(&text).map_err(|error| SettingsError::Value { origin, reason: error.to_string() })
    }
}

fn read_text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it must not be empty") } else { Ok(text.to_owned()) }
}

fn read_bool(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

fn read_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not an address with a port; write it like 127.0.0.1:8080"))
}

fn read_retention(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    match duration::parse(text) {
        Ok(Duration::ZERO) => {
            Err("jobs would be gone before anybody could see how they ended; write a duration such as 14d, or forever".to_owned())
        }
        Ok(kept) => Ok(Some(kept)),
        Err(reason) => Err(format!("'{text}': {reason}, or forever")),
    }
}

fn read_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("'{text}' is neither text nor json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        flags: &ServeFlags,
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<ServeSettings, SettingsError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        ServeSettings::resolve(flags, variable, &SettingsFile::parse("crewcall.toml", file)?)
    }

    fn refusal(flags: &ServeFlags, variables: &[(&str, &str)], file: &str) -> String {
        resolve(flags, variables, file).err().unwrap().to_string()
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        let settings = resolve(&ServeFlags::default(), &[("CREWCALL_AMQP_URL", "")], "").unwrap();
        assert_eq!(settings.backend.amqp_url, "amqp://127.0.0.1:5672/%2f");
        assert_eq!(settings.backend.http_listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(settings.backend.database, "sqlite://crewcall.db".parse().unwrap());
        assert_eq!(settings.backend.retention, Retention::default());
        assert_eq!(duration::parse(RETENTION_DEFAULT), Ok(Retention::DEFAULT), "what the help says");
        assert_eq!(
            duration::parse(RETENTION_TYPES_DEFAULT),
            Ok(Retention::TYPES_DEFAULT),
            "what the help says"
        );
        assert!(!settings.backend.insecure);
        assert_eq!(settings.log, LogSettings { filter: LOG_DEFAULT.to_owned(), format: LogFormat::Text });
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let file = "http_listen = \"127.0.0.1:1\"\namqp_prefix = \"file\"\ndatabase_url = \"sqlite://file.db\"\ninsecure = true\n";
        let variables = [("CREWCALL_HTTP_LISTEN", "127.0.0.1:2"), ("CREWCALL_AMQP_PREFIX", "variable")];
        let flags = ServeFlags { http_listen: Some("127.0.0.1:3".to_owned()), ..ServeFlags::default() };
        let backend = resolve(&flags, &variables, file).unwrap().backend;
        assert_eq!(backend.http_listen.port(), 3);
        assert_eq!(backend.amqp_prefix.prefix(), "variable");
        assert_eq!(backend.database, "sqlite://file.db".parse().unwrap());
        assert_eq!(backend.amqp_url, Config::AMQP_URL_DEFAULT);
        assert!(backend.insecure);

        let stricter = resolve(&flags, &[("CREWCALL_INSECURE", "false")], file).unwrap();
        assert!(!stricter.backend.insecure, "a variable can take back what the file says");
    }

    #[test]
    fn jobs_are_kept_for_a_time_or_for_ever() {
        let flags = ServeFlags { retention_completed: Some("36h".to_owned()), ..ServeFlags::default() };
        let variables = [("CREWCALL_RETENTION_FAILED", "forever")];
        let retention =
            resolve(&flags, &variables, "retention_cancelled = \"1d\"\nretention_types = \"48h\"")
                .unwrap()
                .backend
                .retention;
        let hours = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
        assert_eq!(
            retention,
            Retention { completed: hours(36), failed: None, cancelled: hours(24), types: hours(48) }
        );
    }

    #[test]
    fn mistakes_name_their_place() {
        let flags = ServeFlags { amqp_prefix: Some("Crew Call".to_owned()), ..ServeFlags::default() };
        let none = ServeFlags::default();
        let messages = [
            refusal(&flags, &[], ""),
            refusal(&none, &[("CREWCALL_HTTP_LISTEN", "8080")], ""),
            refusal(&none, &[("CREWCALL_INSECURE", "yes")], ""),
            refusal(&none, &[("CREWCALL_LOG", "crewcall=loud")], ""),
            refusal(&none, &[], "log = \"debg\""),
            refusal(&none, &[], "http_hosts = [\"a.example\", \"*.example\"]"),
            refusal(&none, &[], "http_hosts = 7"),
            refusal(&none, &[("CREWCALL_RETENTION_FAILED", "14")], ""),
            refusal(&none, &[("CREWCALL_RETENTION_FAILED", "0s")], ""),
            refusal(&none, &[], "database_url = \"crewcall.db\""),
            refusal(&none, &[], "log_format = \"xml\""),
            refusal(&none, &[], "amqp_prefix = \"a\"\nhttp_port = 80\n"),
            refusal(&none, &[], "amqp_prefix = \"a\"\n\ninsecure = \"yes\"\n"),
            refusal(&none, &[], "amqp_prefix = a\n"),
        ];
        insta::assert_snapshot!(messages.join("\n"));
    }
}
