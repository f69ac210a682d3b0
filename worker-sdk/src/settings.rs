//! What a worker is told from outside, parsed once and purely.

mod dev_stack;

mod environment;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    time::Duration,
};

use crewcall_proto::{ContentType, Topology, WorkerId};

use crate::{
    limits::{DRAIN_GRACE_DEFAULT, HOLD_AFTER_DEFAULT, HOLD_AFTER_MAX, SLOTS_MAX},
    log_filter,
};

use self::dev_stack::DevStack;

/// The variables that every worker reads.
const VARIABLES: [&str; 11] = [
    AMQP_URL,
    AMQP_PREFIX,
    "CREWCALL_WORKER_SLOTS",
    "CREWCALL_WORKER_NAME",
    "CREWCALL_WORKER_ID",
    "CREWCALL_DRAIN_SECONDS",
    "CREWCALL_HOLD_AFTER_SECONDS",
    "CREWCALL_WORKER_CONTENT_TYPE",
    "CREWCALL_WORKER_BUNDLES",
    "CREWCALL_WORKER_LISTEN",
    "CREWCALL_LOG",
];

/// Those that say which installation a worker belongs to.
const AMQP_URL: &str = "CREWCALL_AMQP_URL";
const AMQP_PREFIX: &str = "CREWCALL_AMQP_PREFIX";

/// The settings of one worker process.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// `CREWCALL_AMQP_URL`: the broker. Default: that of the `crewcall dev` that runs in the working directory, unless
    /// `CREWCALL_AMQP_PREFIX` names another installation; if none runs there, `amqp://127.0.0.1:5672/%2f`.
    pub amqp_url: String,
    /// `CREWCALL_AMQP_PREFIX`: what the names of exchanges and queues start with. Default `crewcall`.
    pub topology: Topology,
    /// `CREWCALL_WORKER_SLOTS`: how many attempts run at once, 1 to 1 000. Default: the number of cores,
    /// unless the program says otherwise ([`Worker::slots`](crate::Worker::slots)).
    pub slots: Option<NonZeroU32>,
    /// `CREWCALL_WORKER_NAME`: what people call the program. Default: what the program says
    /// ([`Worker::name`](crate::Worker::name)), else the name of its executable.
    pub name: Option<String>,
    /// `CREWCALL_WORKER_ID`: the id of this process, 1 to 64 characters of `a-z A-Z 0-9 _ -`. Default: a
    /// new one at every start. No two running workers may share one.
    pub worker_id: WorkerId,
    /// `CREWCALL_DRAIN_SECONDS`: how long attempts may go on after SIGTERM. Default 30.
    pub drain_grace: Duration,
    /// `CREWCALL_HOLD_AFTER_SECONDS`: how long an attempt runs before the worker holds it:
    /// it acknowledges the order, and keeps the attempt by its heartbeats instead. Default 60; more than 0, up to
    /// a day; fractions are fine. It has to be well below the broker's acknowledgement timeout (RabbitMQ's
    /// `consumer_timeout`, 30 minutes unless it was changed).
    pub hold_after: Duration,
    /// `CREWCALL_WORKER_CONTENT_TYPE`: the encoding of messages, `application/msgpack` (default) or `application/json`.
    pub content_type: ContentType,
    /// `CREWCALL_WORKER_BUNDLES`: whether orders may come several in one message, `true` or `false`. Default `true`, unless the
    /// program says otherwise ([`Worker::bundles`](crate::Worker::bundles)); types that must not are up to the program
    /// ([`JobOptions::bundles`](crate::JobOptions::bundles)).
    pub bundles: Option<bool>,
    /// `CREWCALL_WORKER_LISTEN`: the address at which the worker serves `/metrics`, `/livez` and `/readyz`, such as
    /// `127.0.0.1:9464`; port 0 takes a free one, which the log names. Default: none. Nobody is asked who they are: on
    /// other than a loopback address every machine that reaches it can read them.
    pub listen: Option<SocketAddr>,
    /// `CREWCALL_LOG`: what [`Worker::run`](crate::Worker::run) logs, a level or levels by module. Default: what
    /// `RUST_LOG` says, else `info`.
    pub log: Option<String>,
    /// What is to be said of the settings once there is a log.
    remarks: Remarks,
}

/// What a person may not know of the settings that they gave.
#[derive(Debug, Clone, Default)]
struct Remarks {
    /// What there is of a `crewcall dev` in the working directory, if its broker would be used.
    dev_stack: Option<DevStack>,
    /// A sentence for each variable that has no effect.
    unknown: Vec<String>,
}

/// A setting that cannot be used. Says what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} cannot be used: {problem}")]
pub struct SettingsError {
    variable: &'static str,
    problem: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amqp_url: "amqp://127.0.0.1:5672/%2f".to_owned(),
            topology: Topology::default(),
            slots: None,
            name: None,
            worker_id: WorkerId::generate(),
            drain_grace: DRAIN_GRACE_DEFAULT,
            hold_after: HOLD_AFTER_DEFAULT,
            content_type: ContentType::default(),
            bundles: None,
            listen: None,
            log: None,
            remarks: Remarks::default(),
        }
    }
}

impl Settings {
    /// Reads the environment of the process, and looks for a `crewcall dev` in the working directory.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the first variable that cannot be used.
    pub fn from_env() -> Result<Self, SettingsError> {
        let lookup = |variable: &str| std::env::var(variable).ok();
        let mut settings = Self::from_lookup(lookup)?.in_directory(Path::new(dev_stack::DIRECTORY), lookup);
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        settings.remarks.unknown = environment::unknown(names);
        Ok(settings)
    }

    /// The same, with the broker of the `crewcall dev` that has this directory, unless something else is set.
    fn in_directory(mut self, directory: &Path, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |variable: &str| lookup(variable).is_some_and(|text| !text.is_empty());
        if is_set(AMQP_URL) || is_set(AMQP_PREFIX) {
            return self;
        }
        self.remarks.dev_stack = dev_stack::look(directory);
        if let Some(DevStack::Runs { amqp_url: broker }) = &self.remarks.dev_stack {
            self.amqp_url.clone_from(broker);
        }
        self
    }

    /// Logs what a person may not know of the settings that they gave.
    pub(crate) fn log_remarks(&self) {
        for sentence in &self.remarks.unknown {
            tracing::warn!("{sentence}");
        }
        match &self.remarks.dev_stack {
            Some(DevStack::Runs { .. }) => tracing::info!(
                "CREWCALL_AMQP_URL is not set: the worker uses the broker of the `crewcall dev` that runs in this directory."
            ),
            Some(DevStack::Ended) => tracing::info!(
                broker = self.amqp_url,
                "CREWCALL_AMQP_URL is not set, and the `crewcall dev` of this directory no longer runs: the worker uses the default broker."
            ),
            None => {}
        }
    }

    /// Reads variables from `lookup`. An empty one counts as absent.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the first variable that cannot be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let read = |variable: &'static str| {
            lookup(variable).filter(|text| !text.is_empty()).map(|text| Variable { variable, text })
        };
        let mut settings =
            Self { name: read("CREWCALL_WORKER_NAME").map(|name| name.text), ..Self::default() };
        if let Some(url) = read(AMQP_URL) {
            settings.amqp_url = url.parse(amqp_url)?;
        }
        if let Some(prefix) = read(AMQP_PREFIX) {
            settings.topology =
                prefix.parse(|text| Topology::new(text).map_err(|error| error.to_string()))?;
        }
        if let Some(slots) = read("CREWCALL_WORKER_SLOTS") {
            settings.slots = Some(slots.parse(slots_of)?);
        }
        if let Some(id) = read("CREWCALL_WORKER_ID") {
            settings.worker_id =
                id.parse(|text| text.parse::<WorkerId>().map_err(|error| error.to_string()))?;
        }
        if let Some(seconds) = read("CREWCALL_DRAIN_SECONDS") {
            settings.drain_grace = seconds.parse(whole_seconds)?;
        }
        if let Some(seconds) = read("CREWCALL_HOLD_AFTER_SECONDS") {
            settings.hold_after = seconds.parse(hold_after)?;
        }
        if let Some(content_type) = read("CREWCALL_WORKER_CONTENT_TYPE") {
            settings.content_type =
                content_type.parse(|text| text.parse::<ContentType>().map_err(|error| error.to_string()))?;
        }
        if let Some(bundles) = read("CREWCALL_WORKER_BUNDLES") {
            settings.bundles = Some(bundles.parse(true_or_false)?);
        }
        if let Some(address) = read("CREWCALL_WORKER_LISTEN") {
            settings.listen = Some(address.parse(listen)?);
        }
        if let Some(filter) = read("CREWCALL_LOG") {
            settings.log = Some(filter.parse(log_filter::read)?);
        }
        Ok(settings)
    }
}

/// The slots of a worker that nobody gave a number: one per core.
pub(crate) fn slots_default() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(cores).unwrap_or(SLOTS_MAX).min(SLOTS_MAX)
}

/// The name of a worker that nobody named: its executable's.
pub(crate) fn name_default() -> String {
    let executable = std::env::current_exe().ok();
    let stem = executable.as_deref().and_then(|path| path.file_stem()).and_then(|stem| stem.to_str());
    stem.unwrap_or("worker").to_owned()
}

/// One variable that is set.
struct Variable {
    variable: &'static str,
    text: String,
}

impl Variable {
    fn parse<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        parse(&self.text).map_err(|problem| SettingsError { variable: self.variable, problem })
    }
}

fn amqp_url(text: &str) -> Result<String, String> {
    if text.starts_with("amqp://") || text.starts_with("amqps://") {
        Ok(text.to_owned())
    } else {
        // The text may hold a password, so it is not repeated.
        Err("it must begin with amqp:// or amqps://, such as amqp://user:password@host:5672/%2f".to_owned())
    }
}

fn slots_of(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<NonZeroU32>() {
        Ok(slots) if slots.get() <= SLOTS_MAX => Ok(slots),
        _ => Err(format!("{text:?} is not a whole number from 1 to {SLOTS_MAX}")),
    }
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    text.parse::<u32>()
        .map(|seconds| Duration::from_secs(u64::from(seconds)))
        .map_err(|_| format!("{text:?} is not a whole number of seconds"))
}

fn hold_after(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|after| !after.is_zero() && *after <= HOLD_AFTER_MAX).ok_or_else(|| {
        format!("{text:?} is not a number of seconds above 0 and up to {}", HOLD_AFTER_MAX.as_secs())
    })
}

fn true_or_false(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address with a port, such as 127.0.0.1:9464"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|wanted| {
            variables.iter().find(|(variable, _)| *variable == wanted).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn nothing_set_is_fine() {
        let settings = from(&[("CREWCALL_WORKER_SLOTS", "")]).unwrap();
        assert_eq!(settings.amqp_url, "amqp://127.0.0.1:5672/%2f");
        assert_eq!((settings.slots, settings.drain_grace), (None, DRAIN_GRACE_DEFAULT));
        assert_eq!(settings.hold_after, Duration::from_secs(60));
    }

    #[test]
    fn a_crewcall_dev_is_used_when_nothing_says_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let of_dev = "amqp://guest:guest@127.0.0.1:41234/%2f";
        std::fs::write(directory.path().join("env"), format!("export CREWCALL_AMQP_URL='{of_dev}'\n"))
            .unwrap();
        let lock = std::fs::File::create(directory.path().join("dev.lock")).unwrap();
        let broker = |set: &[(&str, &str)]| {
            let lookup = |wanted: &str| {
                set.iter().find(|(variable, _)| *variable == wanted).map(|(_, text)| (*text).to_owned())
            };
            from(set).unwrap().in_directory(directory.path(), lookup).amqp_url
        };
        let default = Settings::default().amqp_url;
        assert_eq!(broker(&[]), default, "it has ended");
        lock.try_lock().unwrap();
        assert_eq!(broker(&[(AMQP_URL, ""), ("CREWCALL_WORKER_SLOTS", "2")]), of_dev);
        assert_eq!(broker(&[(AMQP_URL, "amqp://elsewhere")]), "amqp://elsewhere");
        assert_eq!(broker(&[(AMQP_PREFIX, "blue")]), default, "another installation");
    }

    #[test]
    fn every_variable_is_read() {
        let settings = from(&[
            ("CREWCALL_AMQP_URL", "amqps://broker/%2f"),
            ("CREWCALL_AMQP_PREFIX", "blue"),
            ("CREWCALL_WORKER_SLOTS", "8"),
            ("CREWCALL_WORKER_NAME", "resizer"),
            ("CREWCALL_WORKER_ID", "resizer-1"),
            ("CREWCALL_DRAIN_SECONDS", "5"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "0.5"),
            ("CREWCALL_WORKER_CONTENT_TYPE", "application/json"),
            ("CREWCALL_WORKER_BUNDLES", "false"),
            ("CREWCALL_WORKER_LISTEN", "[::1]:9464"),
            ("CREWCALL_LOG", "info, resizer=debug"),
        ])
        .unwrap();
        assert_eq!(settings.amqp_url, "amqps://broker/%2f");
        assert_eq!(settings.topology.prefix(), "blue");
        assert_eq!(settings.slots.map(NonZeroU32::get), Some(8));
        assert_eq!(settings.name.as_deref(), Some("resizer"));
        assert_eq!(settings.worker_id.as_str(), "resizer-1");
        assert_eq!(settings.drain_grace, Duration::from_secs(5));
        assert_eq!(settings.hold_after, Duration::from_millis(500));
        assert_eq!(settings.content_type, ContentType::Json);
        assert_eq!(settings.bundles, Some(false));
        assert_eq!(settings.listen.unwrap().port(), 9464);
        assert_eq!(settings.log.as_deref(), Some("info,resizer=debug"));
    }

    #[test]
    fn a_bad_value_is_refused_by_name_and_a_password_is_not_repeated() {
        for (variable, text) in [
            ("CREWCALL_AMQP_URL", "http://user:s3cret@host"),
            ("CREWCALL_AMQP_PREFIX", "a.b"),
            ("CREWCALL_WORKER_SLOTS", "0"),
            ("CREWCALL_WORKER_SLOTS", "1001"),
            ("CREWCALL_WORKER_ID", "a.b"),
            ("CREWCALL_DRAIN_SECONDS", "-1"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "0"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "-3"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "NaN"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "inf"),
            ("CREWCALL_HOLD_AFTER_SECONDS", "86401"),
            ("CREWCALL_WORKER_CONTENT_TYPE", "text/plain"),
            ("CREWCALL_WORKER_BUNDLES", "yes"),
            ("CREWCALL_WORKER_LISTEN", "9464"),
            ("CREWCALL_WORKER_LISTEN", "localhost:9464"),
            ("CREWCALL_WORKER_LISTEN", "127.0.0.1:94640"),
            ("CREWCALL_LOG", "debg"),
        ] {
            let sentence = from(&[(variable, text)]).err().unwrap().to_string();
            assert!(sentence.starts_with(variable), "{sentence}");
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
    }
}
