//! Variables with our prefix that nobody reads: usually a slip, which would otherwise be a setting that has no effect.
//!
//! They are told of and not refused: Kubernetes puts `CREWCALL_PORT` and the like into every container beside a service
//! of that name, and other programs of ours read others.

use super::KEYS;
use crate::nearest::nearest;

/// What all our variables begin with.
const PREFIX: &str = "CREWCALL_";

/// Variables of ours that other programs, or other commands, read.
const OTHERS: [&str; 2] = ["CREWCALL_URL", "CREWCALL_RABBITMQ_HOME"];

/// What the variables of workers begin with, ours and those of others.
const OF_WORKERS: [&str; 5] =
    ["CREWCALL_WORKER_", "CREWCALL_WORKERS_", "CREWCALL_DRAIN_", "CREWCALL_HOLD_", "CREWCALL_HTTP_ALLOW"];

/// A sentence for each variable with our prefix that nobody reads.
pub(crate) fn unknown(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let known: Vec<String> = KEYS.iter().map(|key| variable(key)).collect();
    let is_known = |name: &str| {
        known.iter().any(|known| known == name)
            || OTHERS.contains(&name)
            || OF_WORKERS.iter().any(|prefix| name.starts_with(prefix))
    };
    let ours = names.into_iter().filter(|name| name.starts_with(PREFIX));
    let mut unknown: Vec<String> = ours.filter(|name| !is_known(name)).collect();
    unknown.sort();
    let meant = |name: &str| nearest(name, known.iter().map(String::as_str).chain(OTHERS));
    unknown
        .iter()
        .map(|name| match meant(name) {
            Some(meant) => format!("{name} has no effect; did you mean {meant}?"),
            None => format!("{name} has no effect: nothing reads it"),
        })
        .collect()
}

/// The variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_nobody_reads_are_named_with_what_was_meant() {
        let set = [
            "CREWCALL_HTP_LISTEN",
            "CREWCALL_HTTP_LISTEN",
            "CREWCALL_WORKER_SLOTS",
            "CREWCALL_PORT_8080_TCP",
            "PATH",
            "CREWCALL_AMPQ_URL",
            "CREWCALL_URL",
            "CREWCALL_DRAIN_SECONDS",
        ];
        assert_eq!(
            unknown(set.map(str::to_owned)),
            [
                "CREWCALL_AMPQ_URL has no effect; did you mean CREWCALL_AMQP_URL?",
                "CREWCALL_HTP_LISTEN has no effect; did you mean CREWCALL_HTTP_LISTEN?",
                "CREWCALL_PORT_8080_TCP has no effect: nothing reads it",
            ]
        );
    }
}
