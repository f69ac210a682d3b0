//! How a job is named: by its id, the beginning of it, or `@last`; and how consumers, hooks, webhooks, workflows, schedules and
//! runs are.

use std::{fmt, str::FromStr};

use crewcall_proto::{JobId, JobType, RunId};

/// The shortest beginning of an id: shorter ones are numbers and words that stand where an id should.
const PREFIX_DIGITS_MIN: usize = 6;
/// How many digits an id has.
const ID_DIGITS: usize = 32;

/// What the user called a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobName {
    /// By its whole id.
    Id(JobId),
    /// By the beginning of it.
    Prefix(String),
    /// The newest of the backend.
    Last,
}

impl FromStr for JobName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "@last" {
            return Ok(Self::Last);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let digits = text.chars().filter(|character| *character != '-').count();
        let is_id = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        if !is_id || !(1..ID_DIGITS).contains(&digits) {
            return Err(
                "it is not an id of a job, such as 0192e4a0-7c41, nor @last; crewcall jobs ls shows ids"
                    .to_owned(),
            );
        }
        if digits < PREFIX_DIGITS_MIN {
            return Err(format!("it is too short: write {PREFIX_DIGITS_MIN} digits of the id or more"));
        }
        Ok(Self::Prefix(text.to_ascii_lowercase()))
    }
}

/// The longest name of a hook, in characters: it is part of the ids of its events.
const HOOK_NAME_LENGTH_MAX: usize = 100;

/// Names that have the shape of a job type.
macro_rules! dotted_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $example:literal) => {
        dotted_name! { $(#[$doc])* $name, $what, $example, JobType::LENGTH_MAX }
    };
    ($(#[$doc:meta])* $name:ident, $what:literal, $example:literal, $length:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(String);

        impl $name {
            /// The text.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let length: usize = $length;
                if JobType::new(text).is_err() || text.len() > length {
                    return Err(format!(
                        concat!(
                            "a ", $what, "'s name has 1 to {} characters of a-z 0-9 . _ - in dot-separated words, such as ",
                            $example
                        ),
                        length
                    ));
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// What the user called a consumer: one of theirs, or that of a workflow or a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerName(String);

impl ConsumerName {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConsumerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let owner = text.strip_prefix("webhook:").or_else(|| text.strip_prefix("workflow:"));
        match JobType::new(owner.unwrap_or(text)) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!(
                "a consumer's name has 1 to {} characters of a-z 0-9 . _ - in dot-separated words, such as invoices; that of a webhook is webhook: and its name",
                JobType::LENGTH_MAX
            )),
        }
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

dotted_name! {
    /// The name of a hook.
    HookName, "hook", "github", HOOK_NAME_LENGTH_MAX
}

dotted_name! {
    /// The name of a webhook.
    WebhookName, "webhook", "shop"
}

dotted_name! {
    /// The name of a workflow.
    WorkflowName, "workflow", "asset.publish"
}

/// The name of a schedule: one that somebody gave, or that of a trigger of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduleName(String);

impl ScheduleName {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScheduleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trigger = text.strip_prefix("workflow:").and_then(|rest| rest.rsplit_once(':'));
        let is_of_workflow = trigger.is_some_and(|(workflow, index)| {
            JobType::new(workflow).is_ok() && index.bytes().all(|byte| byte.is_ascii_digit())
        });
        if !is_of_workflow && JobType::new(text).is_err() {
            let length = JobType::LENGTH_MAX;
            return Err(format!(
                "a schedule's name has 1 to {length} characters of a-z 0-9 . _ - in dot-separated words, such as report.nightly"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the user called a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunName {
    /// By its id.
    Id(RunId),
    /// The newest of the backend.
    Last,
}

impl FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "@last" {
            return Ok(Self::Last);
        }
        text.parse().map(Self::Id).map_err(|_| {
            "it is not the whole id of a run, nor @last; crewcall runs ls -o wide shows ids".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_named_by_id_beginning_or_last() {
        let id = "0192e4a0-0000-7000-8000-000000000001";
        assert_eq!(id.parse(), Ok(JobName::Id(id.parse().unwrap())));
        assert_eq!("0192E4A0-00".parse(), Ok(JobName::Prefix("0192e4a0-00".to_owned())));
        assert_eq!("@last".parse(), Ok(JobName::Last));
        for bad in ["", "0192e", "0192-e", "last", "image.thumbnail", &format!("{id}0")] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn runs_are_named_by_id_or_last() {
        let id = "0192e4a0-0000-7000-8000-000000000001";
        assert_eq!(id.parse(), Ok(RunName::Id(id.parse().unwrap())));
        assert_eq!("@last".parse(), Ok(RunName::Last));
        for bad in ["", "0192e4a0", "asset.publish"] {
            assert!(bad.parse::<RunName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_says_whose_it_is() {
        let refused = "Asset".parse::<WorkflowName>().unwrap_err();
        assert!(refused.starts_with("a workflow's name has 1 to 128 characters"), "{refused}");
        assert!("asset.publish".parse::<WorkflowName>().is_ok());
        assert!("report.nightly".parse::<ScheduleName>().is_ok());
        for good in ["invoices", "webhook:shop", "workflow:asset.publish"] {
            assert_eq!(good.parse::<ConsumerName>().unwrap().as_str(), good);
        }
        for bad in ["", "Invoices", "webhook:", "hook:shop", "webhook:a:b"] {
            assert!(bad.parse::<ConsumerName>().is_err(), "{bad}");
        }
        assert!("workflow:asset.publish:0".parse::<ScheduleName>().is_ok());
        for bad in ["", "Nightly", "workflow:asset.publish", "workflow:A:0", "workflow:a:x"] {
            assert!(bad.parse::<ScheduleName>().is_err(), "{bad}");
        }
    }
}
