//! What made a job or an event: the way back to its beginning, and how long that is.

use std::{fmt, str::FromStr};

use crewcall_proto::JobId;

use super::{ConsumerName, Pass, Sequence};

/// How many jobs may have made each other before nothing more is made: what goes in a circle comes to an end. AWS Lambda stops
/// its loops after about as many rounds.
pub const DEPTH_MAX_DEFAULT: u32 = 16;

/// Where a chain of jobs and events began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Somebody published it.
    Event(Sequence),
    /// Somebody submitted it.
    Job(JobId),
}

/// Why a consumer made a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub consumer: ConsumerName,
    /// Which time through the log it was.
    pub pass: Pass,
    /// The event that it was made of.
    pub sequence: Sequence,
    pub root: Root,
    /// How many jobs of the chain made each other, this one included.
    pub depth: u32,
}

/// What job an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub job_id: JobId,
    pub root: Root,
    /// That of the job: 0, if somebody submitted it.
    pub depth: u32,
}

impl Origin {
    /// That of an event about this job.
    #[must_use]
    pub fn of(job_id: JobId, cause: Option<&Cause>) -> Self {
        match cause {
            Some(Cause { root, depth, .. }) => Self { job_id, root: *root, depth: *depth },
            None => Self { job_id, root: Root::Job(job_id), depth: 0 },
        }
    }
}

/// `event 17`, or `job` and its id.
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(sequence) => write!(f, "event {sequence}"),
            Self::Job(id) => write!(f, "job {id}"),
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
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_read_as_it_is_written() {
        for root in [Root::Event(Sequence(17)), Root::Job(JobId::generate())] {
            assert_eq!(root.to_string().parse(), Ok(root));
        }
        assert!("run 3".parse::<Root>().is_err());
    }

    #[test]
    fn what_is_told_of_a_job_is_as_deep_as_the_job() {
        let job_id = JobId::generate();
        let submitted = Origin { job_id, root: Root::Job(job_id), depth: 0 };
        assert_eq!(Origin::of(job_id, None), submitted);
        let root = Root::Event(Sequence(1));
        let consumer = "a".parse().unwrap();
        let cause = Cause { consumer, pass: Pass(1), sequence: Sequence(5), root, depth: 3 };
        assert_eq!(Origin::of(job_id, Some(&cause)), Origin { job_id, root, depth: 3 });
    }
}
