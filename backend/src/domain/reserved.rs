//! Job types that are the backend's own: nobody else makes jobs of them, or runs them.

use crewcall_proto::JobType;

/// The type of deliveries to webhooks.
pub const WEBHOOK_TYPE: &str = "crewcall.webhook";

/// The first word of all reserved types.
const WORD: &str = "crewcall";

/// Whether a type is one of ours: `crewcall`, or `crewcall.` and whatever follows.
#[must_use]
pub fn is_reserved(job_type: &str) -> bool {
    job_type.strip_prefix(WORD).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What is said of a reserved type to whoever submits a job of it.
#[must_use]
pub fn refusal(job_type: &str) -> String {
    format!(
        "the type {job_type} is reserved: types that begin with \"{WORD}\" are the backend's own; give yours another name"
    )
}

/// The same to a worker that announces it.
#[must_use]
pub fn announcement_refusal(job_type: &JobType) -> String {
    format!(
        "the type {job_type} is reserved: types that begin with \"{WORD}\" are served by the backend itself"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_our_name_is_ours_and_what_only_looks_like_it_is_not() {
        for ours in ["crewcall", "crewcall.webhook", "crewcall.a.b", WEBHOOK_TYPE] {
            assert!(is_reserved(ours), "{ours}");
        }
        for theirs in ["crewcalls", "crewcall-x", "crewcall_x.y", "my.crewcall", "a", ""] {
            assert!(!is_reserved(theirs), "{theirs}");
        }
        assert!(WEBHOOK_TYPE.parse::<JobType>().is_ok());
    }
}
