//! What the exchanges, queues and routing keys are called.
//!
//! All names start with a prefix (`crewcall` by default), so that several installations can share a
//! broker. Who declares what, and with which arguments, is in `proto/README.md`.

use std::{fmt, str::FromStr};

use crate::{JobType, MessageKind, WorkerId};

/// The names of one installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topology {
    prefix: String,
}

impl Default for Topology {
    fn default() -> Self {
        Self { prefix: Self::DEFAULT_PREFIX.to_owned() }
    }
}

impl Topology {
    /// The prefix when none is set.
    pub const DEFAULT_PREFIX: &'static str = "crewcall";
    /// The longest prefix, in characters: with it, the longest queue name stays below the broker's 255 bytes.
    pub const PREFIX_LENGTH_MAX: usize = 32;

    /// The names under `prefix`: 1 to 32 characters of `a-z 0-9 _ -`.
    ///
    /// # Errors
    ///
    /// [`InvalidPrefix`] when the prefix is anything else.
    pub fn new(prefix: &str) -> Result<Self, InvalidPrefix> {
        let fits = !prefix.is_empty()
            && prefix.len() <= Self::PREFIX_LENGTH_MAX
            && prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if fits { Ok(Self { prefix: prefix.to_owned() }) } else { Err(InvalidPrefix(prefix.to_owned())) }
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The topic exchange for orders; its alternate exchange is [`Topology::unroutable`].
    #[must_use]
    pub fn submit_exchange(&self) -> String {
        self.name("submit")
    }

    /// The queue of one job type, bound to the submit exchange by the type.
    #[must_use]
    pub fn jobs_queue(&self, job_type: &JobType) -> String {
        format!("{}.jobs.{job_type}", self.prefix)
    }

    /// The job type whose queue has this name.
    #[must_use]
    pub fn job_type_of_queue(&self, queue: &str) -> Option<JobType> {
        let rest = queue.strip_prefix(&self.prefix)?.strip_prefix(".jobs.")?;
        JobType::new(rest).ok()
    }

    /// The fanout exchange, and its queue, that catch orders of types nobody ever served.
    #[must_use]
    pub fn unroutable(&self) -> String {
        self.name("unroutable")
    }

    /// The topic exchange for responses.
    #[must_use]
    pub fn response_exchange(&self) -> String {
        self.name("response")
    }

    /// The backend's queue for one kind of response.
    #[must_use]
    pub fn response_queue(&self, kind: MessageKind) -> String {
        self.name(kind.as_str())
    }

    /// The key of a response: `<kind>.<job type>`.
    #[must_use]
    pub fn response_key(&self, kind: MessageKind, job_type: &JobType) -> String {
        format!("{kind}.{job_type}")
    }

    /// The binding of a response queue: `<kind>.#`.
    #[must_use]
    pub fn response_binding(&self, kind: MessageKind) -> String {
        format!("{kind}.#")
    }

    /// The key of a [`ProgressionKind::Started`] that must not get lost: it goes where nothing is dropped.
    ///
    /// [`ProgressionKind::Started`]: crate::response::ProgressionKind::Started
    #[must_use]
    pub fn start_key(&self, job_type: &JobType) -> String {
        format!("started.{job_type}")
    }

    /// What is bound to the queue of [`MessageKind::Held`]: everything that a worker says of an attempt before it answers
    /// and that must not get lost. In one queue, because it counts in the order in which it is said.
    #[must_use]
    pub fn held_bindings(&self) -> [String; 3] {
        [
            self.response_binding(MessageKind::Held),
            "started.#".to_owned(),
            self.response_binding(MessageKind::HandedBack),
        ]
    }

    /// The topic exchange on which workers make themselves known. Routing key: the message kind.
    #[must_use]
    pub fn discovery_exchange(&self) -> String {
        self.name("discovery")
    }

    /// The backend's queue for discovery, bound by `#`.
    #[must_use]
    pub fn discovery_queue(&self) -> String {
        self.name("worker-discovery")
    }

    /// The topic exchange for instructions to workers.
    #[must_use]
    pub fn control_exchange(&self) -> String {
        self.name("control")
    }

    /// A worker's own exclusive queue for instructions. `session` tells the connections of one worker
    /// apart, because the queue of a dead connection can linger, locked.
    #[must_use]
    pub fn control_queue(&self, worker_id: &WorkerId, session: &str) -> String {
        format!("{}.worker.{worker_id}.{session}", self.prefix)
    }

    /// The key that reaches one worker.
    #[must_use]
    pub fn control_key_worker(&self, worker_id: &WorkerId) -> String {
        format!("worker.{worker_id}")
    }

    /// The key that reaches every worker of a type.
    #[must_use]
    pub fn control_key_type(&self, job_type: &JobType) -> String {
        format!("type.{job_type}")
    }

    /// The key that reaches every worker.
    #[must_use]
    pub fn control_key_all(&self) -> &'static str {
        "all"
    }

    /// The fanout exchange, and its queue, for orders that the broker gave up delivering.
    #[must_use]
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// The queue that says which backend the names belong to. Nothing is sent to it.
    #[must_use]
    pub fn backend(&self) -> String {
        self.name("backend")
    }

    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }
}

impl FromStr for Topology {
    type Err = InvalidPrefix;

    fn from_str(prefix: &str) -> Result<Self, Self::Err> {
        Self::new(prefix)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

/// A text that cannot be the prefix of our names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the AMQP prefix: use 1 to 32 characters of a-z 0-9 _ -, such as \"crewcall\"")]
pub struct InvalidPrefix(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_fits_the_broker() {
        let topology = Topology::new(&"p".repeat(Topology::PREFIX_LENGTH_MAX)).unwrap();
        let job_type = JobType::new(&"t".repeat(JobType::LENGTH_MAX)).unwrap();
        let worker: WorkerId = "w".repeat(WorkerId::LENGTH_MAX).parse().unwrap();
        assert!(topology.jobs_queue(&job_type).len() < 255);
        assert!(topology.control_queue(&worker, &"s".repeat(36)).len() < 255);
        assert!(topology.response_key(MessageKind::Progression, &job_type).len() < 255);
    }

    #[test]
    fn a_jobs_queue_names_its_type() {
        let topology = Topology::default();
        let job_type = JobType::new("image.thumbnail").unwrap();
        assert_eq!(topology.jobs_queue(&job_type), "crewcall.jobs.image.thumbnail");
        assert_eq!(topology.job_type_of_queue("crewcall.jobs.image.thumbnail"), Some(job_type));
        assert_eq!(topology.job_type_of_queue("crewcall.completed"), None);
    }

    #[test]
    fn a_prefix_cannot_break_a_name() {
        for prefix in ["", "a.b", "A", "*", &"p".repeat(33)] {
            assert!(Topology::new(prefix).is_err(), "{prefix:?}");
        }
    }
}
