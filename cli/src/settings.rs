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
//! | `--retention-events` | `CREWCALL_RETENTION_EVENTS` | `retention_events` | `14d` |
//! | `--chain-jobs-max` | `CREWCALL_CHAIN_JOBS_MAX` | `chain_jobs_max` | `16` |
//! | `--bundles` | `CREWCALL_BUNDLES` | `bundles` | `true` |
//! | `--webhook-allow` | `CREWCALL_WEBHOOK_ALLOW` | `webhook_allow` | none |
//! | `--insecure` | `CREWCALL_INSECURE` | `insecure` | `false` |
//! | `--log` | `CREWCALL_LOG` | `log` | `info` |
//! | `--log-format` | `CREWCALL_LOG_FORMAT` | `log_format` | `text` |

pub(crate) mod environment;
mod file;
pub(crate) mod values;

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;
use crewcall_backend::{
    Config, DatabaseUrl, HttpHosts, domain::cause::DEPTH_MAX_DEFAULT, engine::upkeep::retention::Retention,
};
use crewcall_proto::Topology;
use crewcall_webhooks::AllowedNetworks;

pub(crate) use self::file::SettingsFile;
use crate::log_filter;

/// The keys of all settings.
const KEYS: [&str; 16] = [
    "amqp_url",
    "amqp_prefix",
    "database_url",
    "http_listen",
    "http_hosts",
    "retention_completed",
    "retention_failed",
    "retention_cancelled",
    "retention_types",
    "retention_events",
    "chain_jobs_max",
    "bundles",
    "webhook_allow",
    "insecure",
    "log",
    "log_format",
];

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
    /// For how long published events are kept.
    #[arg(long, value_name = "DURATION", help = with_places("How long published events are kept, or forever", "RETENTION_EVENTS", RETENTION_DEFAULT))]
    pub(crate) retention_events: Option<String>,
    /// How many jobs may make each other.
    #[arg(long, value_name = "NUMBER", help = with_places("How many jobs may make each other by way of events and consumers, before nothing more is made", "CHAIN_JOBS_MAX", DEPTH_MAX_DEFAULT))]
    pub(crate) chain_jobs_max: Option<String>,
    /// Whether several short orders may travel in one message.
    #[arg(long, value_name = "BOOL", help = with_places("Whether several short orders may travel in one message, to workers that take them so: true or false", "BUNDLES", true))]
    pub(crate) bundles: Option<String>,
    /// Where webhooks may lead besides the public internet.
    #[arg(long, value_name = "NETWORKS", help = with_places("Networks besides the public internet that webhooks may lead into, such as 10.0.0.0/8, or * for all; separated by commas", "WEBHOOK_ALLOW", "none"))]
    pub(crate) webhook_allow: Option<String>,
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

/// Settings that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// Values that their settings do not take, and keys of the file that there are not. Each names where it was written.
    #[error("{}", all_of(.0))]
    Mistakes(Vec<String>),
    /// The file cannot be read.
    #[error("cannot read the settings file '{path}': {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// One in its line, several below each other.
fn all_of(mistakes: &[String]) -> String {
    match mistakes {
        [one] => one.clone(),
        several => format!("{} settings cannot be used:\n  {}", several.len(), several.join("\n  ")),
    }
}

impl ServeFlags {
    /// What was written for a setting. A flag without a value can only say yes.
    fn text(&self, key: &str) -> Option<&str> {
        match key {
            "amqp_url" => self.amqp_url.as_deref(),
            "amqp_prefix" => self.amqp_prefix.as_deref(),
            "database_url" => self.database_url.as_deref(),
            "http_listen" => self.http_listen.as_deref(),
            "http_hosts" => self.http_hosts.as_deref(),
            "retention_completed" => self.retention_completed.as_deref(),
            "retention_failed" => self.retention_failed.as_deref(),
            "retention_cancelled" => self.retention_cancelled.as_deref(),
            "retention_types" => self.retention_types.as_deref(),
            "retention_events" => self.retention_events.as_deref(),
            "chain_jobs_max" => self.chain_jobs_max.as_deref(),
            "bundles" => self.bundles.as_deref(),
            "webhook_allow" => self.webhook_allow.as_deref(),
            "insecure" => self.insecure.then_some("true"),
            "log" => self.log.as_deref(),
            "log_format" => self.log_format.as_deref(),
            _ => None,
        }
    }
}

impl ServeSettings {
    /// Puts the settings together: a pure function of the flags, a lookup for variables, and the file.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Mistakes`] with everything that cannot be used.
    pub(crate) fn resolve(
        flags: &ServeFlags,
        variable: impl Fn(&str) -> Option<String>,
        file: &SettingsFile,
    ) -> Result<Self, SettingsError> {
        let mut sources = Sources { flags, variable, file, mistakes: file.mistakes.clone() };
        let defaults = Config::default();
        let backend = Config {
            amqp_url: sources.read("amqp_url", defaults.amqp_url, values::text),
            amqp_prefix: sources.read("amqp_prefix", defaults.amqp_prefix, Topology::from_str),
            database: sources.read("database_url", defaults.database, DatabaseUrl::from_str),
            http_listen: sources.read("http_listen", defaults.http_listen, values::listen_address),
            http_hosts: sources.read("http_hosts", defaults.http_hosts, HttpHosts::from_str),
            retention: Retention {
                completed: sources.read(
                    "retention_completed",
                    defaults.retention.completed,
                    values::retention,
                ),
                failed: sources.read("retention_failed", defaults.retention.failed, values::retention),
                cancelled: sources.read(
                    "retention_cancelled",
                    defaults.retention.cancelled,
                    values::retention,
                ),
                types: sources.read("retention_types", defaults.retention.types, values::retention),
                events: sources.read("retention_events", defaults.retention.events, values::retention),
            },
            chain_jobs_max: sources.read("chain_jobs_max", defaults.chain_jobs_max, values::chain_jobs_max),
            bundles: sources.read("bundles", defaults.bundles, values::yes_or_no),
            webhook_allow: sources.read("webhook_allow", defaults.webhook_allow, AllowedNetworks::from_str),
            insecure: sources.read("insecure", defaults.insecure, values::yes_or_no),
        };
        let log = LogSettings {
            filter: sources.read("log", LOG_DEFAULT.to_owned(), log_filter::read),
            format: sources.read("log_format", LogFormat::Text, values::log_format),
        };
        match sources.mistakes {
            none if none.is_empty() => Ok(Self { backend, log }),
            mistakes => Err(SettingsError::Mistakes(mistakes)),
        }
    }
}

/// The places where settings are written, the strongest first, and what is wrong there.
struct Sources<'a, V> {
    flags: &'a ServeFlags,
    variable: V,
    file: &'a SettingsFile,
    mistakes: Vec<String>,
}

impl<V: Fn(&str) -> Option<String>> Sources<'_, V> {
    /// A setting; the default, if it is not written or cannot be used.
    fn read<T, E: fmt::Display>(&mut self, key: &str, default: T, read: impl Fn(&str) -> Result<T, E>) -> T {
        let Some((origin, text)) = self.written(key) else { return default };
        match read(&text) {
            Ok(value) => value,
            Err(error) => {
                self.mistakes.push(format!("{origin}: {error}"));
                default
            }
        }
    }

    /// A setting as it was written, and where.
    fn written(&self, key: &str) -> Option<(String, String)> {
        if let Some(text) = self.flags.text(key) {
            return Some((format!("--{}", key.replace('_', "-")), text.to_owned()));
        }
        let name = environment::variable(key);
        // `NAME=` is how some shells and unit files say "not set".
        if let Some(text) = (self.variable)(&name).filter(|text| !text.is_empty()) {
            return Some((name, text));
        }
        let text = self.file.values.get(key)?;
        Some((format!("'{key}' in the settings file"), text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::duration;

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
        let number =
            resolve(&ServeFlags::default(), &[], "http_listen = 8081\nhttp_hosts = [\"a\", \"b\"]").unwrap();
        assert_eq!(number.backend.http_listen, "127.0.0.1:8081".parse().unwrap());

        let stricter = resolve(&flags, &[("CREWCALL_INSECURE", "false")], file).unwrap();
        assert!(!stricter.backend.insecure, "a variable can take back what the file says");
    }

    #[test]
    fn jobs_are_kept_for_a_time_or_for_ever() {
        let flags = ServeFlags { retention_completed: Some("36h".to_owned()), ..ServeFlags::default() };
        let variables = [("CREWCALL_RETENTION_FAILED", "forever")];
        let retention = resolve(
            &flags,
            &variables,
            "retention_cancelled = \"1d\"\nretention_types = \"48h\"\nretention_events = \"2h\"",
        )
        .unwrap()
        .backend
        .retention;
        let hours = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
        assert_eq!(
            retention,
            Retention {
                completed: hours(36),
                failed: None,
                cancelled: hours(24),
                types: hours(48),
                events: hours(2)
            }
        );
    }

    #[test]
    fn mistakes_name_their_place() {
        let flags = ServeFlags { amqp_prefix: Some("Crew Call".to_owned()), ..ServeFlags::default() };
        let none = ServeFlags::default();
        let messages = [
            refusal(&flags, &[], ""),
            refusal(&none, &[("CREWCALL_HTTP_LISTEN", ":8080")], ""),
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
            refusal(
                &none,
                &[],
                "http-listen = \"127.0.0.1:80\"\nretention_failed = 14\nlog = [1]\n[backend]\n",
            ),
            refusal(&flags, &[("CREWCALL_INSECURE", "yes")], "htp_listen = 1\nlog = \"debg\"\n"),
        ];
        insta::assert_snapshot!(messages.join("\n"));
    }
}
