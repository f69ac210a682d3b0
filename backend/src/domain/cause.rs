//! What made a job, a run or an event: the way back to its beginning, and how long that is.

use std::{fmt, str::FromStr, sync::Arc};

use crewcall_proto::{JobId, RunId};

use super::{
    ConsumerName, FiredBy, Pass, Sequence,
    run_names::{ItemKey, WorkflowName},
};

/// How many jobs may have made each other before nothing more is made: what goes in a circle comes to an end. AWS Lambda stops
/// its loops after about as many rounds.
pub const DEPTH_MAX_DEFAULT: u32 = 16;

/// Where a chain of jobs, runs and events began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Somebody published it.
    Event(Sequence),
    /// Somebody submitted it.
    Job(JobId),
    /// Somebody started it.
    Run(RunId),
}

/// Why a job was made that nobody submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub by: CausedBy,
    pub root: Root,
    /// How many jobs and runs of the chain made each other, this one included. The jobs of a run are as deep as the run.
    pub depth: u32,
}

/// What made a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CausedBy {
    Consumer(MadeOf),
    /// It is an item of a step.
    Step {
        key: ItemKey,
        workflow: WorkflowName,
        /// The name of the step.
        step: Arc<str>,
    },
    /// A tick of a schedule.
    Schedule(FiredBy),
}

/// Which event something was made of, and by which consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOf {
    pub consumer: ConsumerName,
    /// Which time through the log it was.
    pub pass: Pass,
    pub sequence: Sequence,
}

impl Cause {
    /// The event that it was made of, if a consumer made it.
    #[must_use]
    pub const fn made_of(&self) -> Option<&MadeOf> {
        match &self.by {
            CausedBy::Consumer(made_of) => Some(made_of),
            CausedBy::Step { .. } | CausedBy::Schedule(_) => None,
        }
    }

    /// Which item of a run it is, if it is one.
    #[must_use]
    pub const fn item(&self) -> Option<ItemKey> {
        match &self.by {
            CausedBy::Step { key, .. } => Some(*key),
            CausedBy::Consumer(_) | CausedBy::Schedule(_) => None,
        }
    }

    /// Which tick it was made for, if a schedule made it.
    #[must_use]
    pub const fn fired_by(&self) -> Option<&FiredBy> {
        match &self.by {
            CausedBy::Schedule(by) => Some(by),
            CausedBy::Consumer(_) | CausedBy::Step { .. } => None,
        }
    }
}

/// What an event of ours tells of, or who published it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Job(JobId),
    Run(RunId),
}

/// What an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub source: Source,
    pub root: Root,
    /// That of the job or run: 0, if somebody submitted or started it.
    pub depth: u32,
}

impl Origin {
    /// That of an event about this job.
    #[must_use]
    pub fn of(job_id: JobId, cause: Option<&Cause>) -> Self {
        let source = Source::Job(job_id);
        match cause {
            Some(Cause { root, depth, .. }) => Self { source, root: *root, depth: *depth },
            None => Self { source, root: Root::Job(job_id), depth: 0 },
        }
    }
}

/// `event 17`, or `job` or `run` and its id.
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(sequence) => write!(f, "event {sequence}"),
            Self::Job(id) => write!(f, "job {id}"),
            Self::Run(id) => write!(f, "run {id}"),
        }
    }
}

impl FromStr for Root {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(' ') {
            Some(("event", number)) => {
                number.parse().map(|number| Self::Event(Sequence(number))).map_err(drop)
            }
            Some(("job", id)) => id.parse().map(Self::Job).map_err(drop),
            Some(("run", id)) => id.parse().map(Self::Run).map_err(drop),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_read_as_it_is_written() {
        for root in [Root::Event(Sequence(17)), Root::Job(JobId::generate()), Root::Run(RunId::generate())] {
            assert_eq!(root.to_string().parse(), Ok(root));
        }
        assert!("step 3".parse::<Root>().is_err());
    }

    #[test]
    fn what_is_told_of_a_job_is_as_deep_as_the_job() {
        let job_id = JobId::generate();
        let submitted = Origin { source: Source::Job(job_id), root: Root::Job(job_id), depth: 0 };
        assert_eq!(Origin::of(job_id, None), submitted);
        let root = Root::Event(Sequence(1));
        let consumer = "a".parse().unwrap();
        let made_of = MadeOf { consumer, pass: Pass(1), sequence: Sequence(5) };
        let cause = Cause { by: CausedBy::Consumer(made_of), root, depth: 3 };
        let source = Source::Job(job_id);
        assert_eq!(Origin::of(job_id, Some(&cause)), Origin { source, root, depth: 3 });
    }
}
