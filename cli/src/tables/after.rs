//! What a job comes after.

use crate::api::{Job, Predecessor};

/// The jobs that it comes after, with how they ended.
pub(super) fn comes_after(job: &Job) -> String {
    let first = |it: &Predecessor| match &it.end {
        Some(end) => format!("{} ({end})", it.id),
        None => it.id.clone(),
    };
    let mut all = job.after.iter().map(first).collect::<Vec<_>>().join(", ");
    if job.after_failure.as_deref() == Some("run") {
        all.push_str("; it runs whatever becomes of them");
    }
    all
}
