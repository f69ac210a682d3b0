//! Which submissions are jobs: all problems at once, each with a pointer to its field.

use std::collections::BTreeMap;

use crewcall_proto::{JobId, JobType, JsonObject, Timestamp};

use super::{
    After, Job, JobStatus, Policy, Priority, Problem,
    after::AfterRequest,
    escaped,
    reserved::{is_reserved, refusal},
    retry::{ATTEMPTS_DEFAULT, ATTEMPTS_MAX},
    times::Times,
};

/// The most labels a job may have.
pub const LABELS_MAX: usize = 32;
/// The longest label name, in characters.
pub const LABEL_NAME_LENGTH_MAX: usize = 64;
/// The longest label value, in characters.
pub const LABEL_VALUE_LENGTH_MAX: usize = 256;

/// What a submitter asks for, as it came in. Numbers are wide so that a wrong one can be told what is wrong.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Submission {
    pub job_type: String,
    /// What to work on.
    pub parameters: JsonObject,
    /// 0 to 9.
    pub priority: Option<i64>,
    /// 1 to [`ATTEMPTS_MAX`].
    pub max_attempts: Option<i64>,
    /// Words to find the job by.
    pub labels: BTreeMap<String, String>,
    /// When it is to be tried, and for how long.
    pub times: Times,
    /// Which jobs have to be over before it begins.
    pub after: AfterRequest,
}

/// A submission that is a job, but for its id and the time.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub job_type: JobType,
    /// What to work on.
    pub parameters: JsonObject,
    pub priority: Priority,
    /// How often it is tried.
    pub max_attempts: u32,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// When it may be dispatched.
    pub due_at: Timestamp,
    /// When it is tried, and for how long.
    pub policy: Policy,
    /// Which jobs have to be over before it begins, if any.
    pub after: Option<After>,
}

impl Submission {
    /// Reads the submission of somebody, which came in at `now`, as a job. Its type is none of those that are the backend's own.
    ///
    /// # Errors
    ///
    /// Every problem it has, in the order of the fields.
    pub fn validate(self, now: Timestamp) -> Result<NewJob, Vec<Problem>> {
        if !is_reserved(&self.job_type) {
            return self.validate_made(now);
        }
        let mut problems = vec![Problem::new("/type", refusal(&self.job_type))];
        problems.extend(self.validate_made(now).err().unwrap_or_default());
        Err(problems)
    }

    /// The same of what the backend makes itself, which may be of any type.
    ///
    /// # Errors
    ///
    /// Every problem it has, in the order of the fields.
    pub fn validate_made(self, now: Timestamp) -> Result<NewJob, Vec<Problem>> {
        let mut problems = Vec::new();
        let job_type = JobType::new(&self.job_type);
        if let Err(invalid) = &job_type {
            problems.push(Problem::new("/type", invalid.to_string()));
        }
        let priority = self
            .priority
            .map_or(Some(Priority::default()), |number| u8::try_from(number).ok().and_then(Priority::new));
        if priority.is_none() {
            problems
                .push(Problem::new("/priority", "a priority is a whole number from 0 (last) to 9 (first)"));
        }
        let max_attempts = self.max_attempts.map_or(Some(ATTEMPTS_DEFAULT), |number| {
            u32::try_from(number).ok().filter(|number| (1..=ATTEMPTS_MAX).contains(number))
        });
        if max_attempts.is_none() {
            let message = format!("a job has 1 to {ATTEMPTS_MAX} attempts");
            problems.push(Problem::new("/max_attempts", message));
        }
        problems.extend(label_problems(&self.labels));
        let (due_at, policy) = self.times.read(now, &mut problems);
        let after = self.after.read(&mut problems);
        match (job_type, priority, max_attempts) {
            (Ok(job_type), Some(priority), Some(max_attempts)) if problems.is_empty() => {
                let (parameters, labels) = (self.parameters, self.labels);
                Ok(NewJob { job_type, parameters, priority, max_attempts, labels, due_at, policy, after })
            }
            _ => Err(problems),
        }
    }
}

impl NewJob {
    /// The job, from the moment of its acceptance.
    #[must_use]
    pub fn accept(self, id: JobId, now: Timestamp) -> Job {
        Job {
            id,
            job_type: self.job_type,
            parameters: self.parameters,
            labels: self.labels,
            priority: self.priority,
            policy: self.policy,
            created_at: now,
            traceparent: None,
            status: JobStatus::new(self.max_attempts, now, self.due_at),
        }
    }
}

/// What is wrong with labels, with pointers below `/labels`.
pub(crate) fn label_problems(labels: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if labels.len() > LABELS_MAX {
        problems.push(Problem::new(
            "/labels",
            format!("a job has at most {LABELS_MAX} labels, not {}", labels.len()),
        ));
    }
    for (name, value) in labels {
        let pointer = format!("/labels/{}", escaped(name));
        let name_fits = !name.is_empty()
            && name.len() <= LABEL_NAME_LENGTH_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if !name_fits {
            problems.push(Problem::new(
                &pointer,
                format!("a label's name is 1 to {LABEL_NAME_LENGTH_MAX} characters of a-z A-Z 0-9 . _ -"),
            ));
        }
        if value.chars().count() > LABEL_VALUE_LENGTH_MAX {
            problems.push(Problem::new(
                &pointer,
                format!("a label's value has at most {LABEL_VALUE_LENGTH_MAX} characters"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_filled_in() {
        let job = Submission { job_type: "a.b".into(), ..Submission::default() }
            .validate(Timestamp::from_millis(0))
            .unwrap();
        assert_eq!((job.priority.get(), job.max_attempts), (4, 5));
    }

    #[test]
    fn a_reserved_type_is_for_what_the_backend_makes_itself() {
        let of = |job_type: &str| Submission { job_type: job_type.into(), ..Submission::default() };
        let at = Timestamp::from_millis(0);
        for ours in ["crewcall", "crewcall.webhook"] {
            let problems = of(ours).validate(at).unwrap_err();
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].pointer, "/type");
            assert!(problems[0].message.contains("reserved"), "{problems:?}");
            assert!(of(ours).validate_made(at).is_ok());
        }
        let twice = Submission { priority: Some(10), ..of("crewcall.x") }.validate(at).unwrap_err();
        assert_eq!(twice.len(), 2, "{twice:?}");
        assert!(of("crewcalls.x").validate(at).is_ok());
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let submission = Submission {
            job_type: "Bad Type".into(),
            priority: Some(10),
            max_attempts: Some(0),
            labels: [("a/b".to_owned(), "x".repeat(257)), (String::new(), String::new())].into(),
            ..Submission::default()
        };
        let pointers: Vec<String> = submission
            .validate(Timestamp::from_millis(0))
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.pointer)
            .collect();
        assert_eq!(
            pointers,
            ["/type", "/priority", "/max_attempts", "/labels/", "/labels/a~1b", "/labels/a~1b"]
        );
    }
}
