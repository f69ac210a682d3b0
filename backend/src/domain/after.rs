//! Jobs that come after others: until those are over, a job is blocked.

use std::str::FromStr;

use crewcall_proto::JobId;

use super::{Problem, State};

/// The most jobs that one may come after. Each is a row, and a place in the memory of whoever writes.
pub const AFTER_MAX: usize = 100;

/// Which jobs have to be over before a job begins, as it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AfterRequest {
    /// Their ids.
    pub jobs: Vec<String>,
    /// `cancel` or `run`.
    pub on_failure: Option<String>,
}

/// Which jobs have to be over before a job begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// At least one, each once, in the order of the submission.
    pub jobs: Vec<JobId>,
    pub on_failure: AfterFailure,
}

/// What becomes of a job when one that it comes after failed or was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterFailure {
    /// It is cancelled, too.
    #[default]
    Cancel,
    /// It begins all the same.
    Run,
}

/// A job that is blocked, and how those stand that it comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub on_failure: AfterFailure,
    /// How each ended; `None` while it has not. In the order of the submission.
    pub jobs: Vec<(JobId, Option<State>)>,
}

/// What becomes of a blocked job when everything is over that it comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Begins,
    /// This one did not complete: it failed or was cancelled.
    IsCancelled {
        because_of: JobId,
        end: State,
    },
}

impl AfterRequest {
    /// Reads it; `None` when the job comes after nothing, or when there are problems.
    pub(super) fn read(self, problems: &mut Vec<Problem>) -> Option<After> {
        let known = problems.len();
        if self.jobs.len() > AFTER_MAX {
            let message = format!(
                "a job comes after at most {AFTER_MAX} jobs: have it come after some that come after the others"
            );
            problems.push(Problem::new("/after", message));
        }
        let mut jobs = Vec::with_capacity(self.jobs.len().min(AFTER_MAX));
        for (index, text) in self.jobs.iter().take(AFTER_MAX).enumerate() {
            match text.parse::<JobId>() {
                Ok(id) if jobs.contains(&id) => {}
                Ok(id) => jobs.push(id),
                Err(invalid) => problems.push(Problem::new(pointer(index), invalid.to_string())),
            }
        }
        let on_failure = self.on_failure.as_deref().map_or(Ok(AfterFailure::default()), str::parse);
        match &on_failure {
            Err(unknown) => problems.push(Problem::new("/after_failure", unknown.to_string())),
            Ok(_) if self.on_failure.is_some() && self.jobs.is_empty() => problems.push(Problem::new(
                "/after_failure",
                "it says what becomes of the job when one of 'after' fails: name those in 'after'",
            )),
            Ok(_) => {}
        }
        let is_well = problems.len() == known && !jobs.is_empty();
        on_failure.ok().filter(|_| is_well).map(|on_failure| After { jobs, on_failure })
    }
}

impl After {
    /// What is wrong when these are not there.
    #[must_use]
    pub fn unknown(&self, unknown: &[JobId]) -> Vec<Problem> {
        let problem = |id: &JobId| {
            let index = self.jobs.iter().position(|job| job == id).unwrap_or_default();
            let message = format!(
                "there is no job {id}: its id is another, or it was over so long ago that it is deleted"
            );
            Problem::new(pointer(index), message)
        };
        unknown.iter().map(problem).collect()
    }
}

impl Blocked {
    /// What becomes of the job; `None` while one of those is not over.
    #[must_use]
    pub fn fate(&self) -> Option<Fate> {
        let mut fate = Fate::Begins;
        for (id, end) in &self.jobs {
            let end = (*end)?;
            if end != State::Completed && self.on_failure == AfterFailure::Cancel && fate == Fate::Begins {
                fate = Fate::IsCancelled { because_of: *id, end };
            }
        }
        Some(fate)
    }

    /// Those that are not over.
    pub fn open(&self) -> impl Iterator<Item = JobId> {
        self.jobs.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id)
    }
}

impl AfterFailure {
    /// The word in the API and the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

impl FromStr for AfterFailure {
    type Err = UnknownAfterFailure;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Cancel, Self::Run].into_iter().find(|it| it.as_str() == word).ok_or(UnknownAfterFailure)
    }
}

/// A word that says nothing about what becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is 'cancel' (the default) or 'run'")]
pub struct UnknownAfterFailure;

fn pointer(index: usize) -> String {
    format!("/after/{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(jobs: Vec<String>, on_failure: Option<&str>) -> Result<Option<After>, Vec<String>> {
        let mut problems = Vec::new();
        let on_failure = on_failure.map(str::to_owned);
        let after = AfterRequest { jobs, on_failure }.read(&mut problems);
        let told = |problem: &Problem| format!("{}: {}", problem.pointer, problem.message);
        if problems.is_empty() { Ok(after) } else { Err(problems.iter().map(told).collect()) }
    }

    #[test]
    fn what_a_job_comes_after_is_read_once_each_and_in_order() {
        let (a, b) = (JobId::generate(), JobId::generate());
        let named = vec![b.to_string(), a.to_string(), b.to_string()];
        let after = read(named, Some("run")).unwrap().unwrap();
        assert_eq!(after, After { jobs: vec![b, a], on_failure: AfterFailure::Run });
        assert_eq!(read(Vec::new(), None), Ok(None));
        let of_one = read(vec![a.to_string()], None).unwrap().unwrap();
        assert_eq!(of_one.on_failure, AfterFailure::Cancel);
        assert_eq!(of_one.unknown(&[a])[0].pointer, "/after/0");
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let jobs = vec!["x".to_owned(), JobId::generate().to_string(), "y".to_owned()];
        let problems = read(jobs, Some("stop")).unwrap_err();
        let pointers: Vec<&str> =
            problems.iter().map(|problem| problem.split_once(": ").unwrap().0).collect();
        assert_eq!(pointers, ["/after/0", "/after/2", "/after_failure"]);
        assert!(read(Vec::new(), Some("run")).is_err(), "after nothing nothing can fail");
        let many = (0..=AFTER_MAX).map(|_| JobId::generate().to_string()).collect();
        assert!(read(many, None).unwrap_err()[0].contains("at most 100"));
    }

    #[test]
    fn a_job_begins_when_everything_is_over_unless_something_failed() {
        let (a, b) = (JobId::generate(), JobId::generate());
        let fate = |on_failure, ends: [Option<State>; 2]| {
            Blocked { on_failure, jobs: vec![(a, ends[0]), (b, ends[1])] }.fate()
        };
        let (completed, failed, cancelled) =
            (Some(State::Completed), Some(State::Failed), Some(State::Cancelled));
        assert_eq!(fate(AfterFailure::Cancel, [completed, None]), None);
        assert_eq!(fate(AfterFailure::Cancel, [failed, None]), None, "it may be tried again");
        assert_eq!(fate(AfterFailure::Cancel, [completed, completed]), Some(Fate::Begins));
        let because_of_b = Fate::IsCancelled { because_of: b, end: State::Cancelled };
        assert_eq!(fate(AfterFailure::Cancel, [completed, cancelled]), Some(because_of_b));
        assert_eq!(fate(AfterFailure::Run, [failed, cancelled]), Some(Fate::Begins));
    }
}
