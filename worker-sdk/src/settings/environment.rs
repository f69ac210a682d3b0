//! Variables with our prefix that no worker reads: usually a slip, which would otherwise be a setting that has no effect.
//!
//! They are told of and not refused: Kubernetes puts `CREWCALL_PORT` and the like into every container beside a service
//! of that name, and a program may have variables of its own.

use super::VARIABLES;

/// What all our variables begin with.
const PREFIX: &str = "CREWCALL_";

/// Variables of ours that other programs read: often one file sets them for all. A test holds both lists against the
/// documents.
const OTHERS: [&str; 18] = [
    "CREWCALL_URL",
    "CREWCALL_RABBITMQ_HOME",
    "CREWCALL_DATABASE_URL",
    "CREWCALL_HTTP_LISTEN",
    "CREWCALL_HTTP_HOSTS",
    "CREWCALL_RETENTION_COMPLETED",
    "CREWCALL_RETENTION_FAILED",
    "CREWCALL_RETENTION_CANCELLED",
    "CREWCALL_RETENTION_TYPES",
    "CREWCALL_RETENTION_EVENTS",
    "CREWCALL_BUNDLES",
    "CREWCALL_WEBHOOK_ALLOW",
    "CREWCALL_CHAIN_JOBS_MAX",
    "CREWCALL_INSECURE",
    "CREWCALL_LOG_FORMAT",
    "CREWCALL_WORKERS_TYPES",
    "CREWCALL_WORKERS_ROOT",
    "CREWCALL_HTTP_ALLOW",
];

/// How alike two names must be, from 0 to 1, for one to be meant when the other is written.
const ALIKE_MIN: f64 = 0.7;

/// A sentence for each variable with our prefix that no worker reads, and no other program of ours.
pub(super) fn unknown(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_known = |name: &str| VARIABLES.contains(&name) || OTHERS.contains(&name);
    let mut unknown: Vec<String> =
        names.into_iter().filter(|name| name.starts_with(PREFIX) && !is_known(name)).collect();
    unknown.sort();
    unknown
        .iter()
        .map(|name| match meant(name) {
            Some(meant) => format!("{name} has no effect; did you mean {meant}?"),
            None => format!("{name} has no effect on the worker: Crewcall does not read it"),
        })
        .collect()
}

/// The variable that is most like the one that was written, if any is like it at all.
fn meant(written: &str) -> Option<&'static str> {
    let all = VARIABLES.into_iter().chain(OTHERS);
    let alike = all.map(|name| (strsim::normalized_damerau_levenshtein(written, name), name));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_no_worker_reads_are_named_with_what_was_meant() {
        let set = [
            "CREWCALL_WORKER_SLOST",
            "CREWCALL_WORKER_SLOTS",
            "CREWCALL_PORT_8080_TCP",
            "PATH",
            "CREWCALL_AMPQ_URL",
            "CREWCALL_HTTP_LISTEN",
            "CREWCALL_DRAIN_SECOND",
        ];
        assert_eq!(
            unknown(set.map(str::to_owned)),
            [
                "CREWCALL_AMPQ_URL has no effect; did you mean CREWCALL_AMQP_URL?",
                "CREWCALL_DRAIN_SECOND has no effect; did you mean CREWCALL_DRAIN_SECONDS?",
                "CREWCALL_PORT_8080_TCP has no effect on the worker: Crewcall does not read it",
                "CREWCALL_WORKER_SLOST has no effect; did you mean CREWCALL_WORKER_SLOTS?",
            ]
        );
    }
}
