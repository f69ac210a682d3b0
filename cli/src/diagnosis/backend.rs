//! What the backend's own answers show.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::{Area, BackendFacts, Facts, Finding, error, warning};
use crate::{api::JobType, text::bytes, times};

/// How far the clocks of two machines may be apart. The backend tells its time to the second, on a way that takes time.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_secs(5);
/// How much of the disk has to be free: below, the alert `CrewcallDiskNearlyFull` fires.
const DISK_FREE_BYTES_MIN: f64 = 1e9;
/// How much has to be free for a commit to be certain: the log of the database grows to some megabytes.
const DISK_FREE_BYTES_NEEDED: f64 = 64e6;
/// The states of jobs, in the order of their lives.
const STATES: [&str; 9] = [
    "blocked",
    "scheduled",
    "ready",
    "unroutable",
    "dispatched",
    "running",
    "completed",
    "failed",
    "cancelled",
];
/// Of how many types or workers the names are said.
const NAMED_MAX: usize = 5;

/// Each part of it in few words.
pub(super) fn summaries(facts: &Facts) -> Vec<(Area, String)> {
    let Ok(seen) = &facts.backend else {
        return vec![(Area::Backend, format!("no answer from {}", facts.url))];
    };
    let metrics = &seen.metrics;
    let version =
        metrics.label("crewcall_build_info", "version").map(|version| format!(", version {version}"));
    let up = metrics.sum("crewcall_start_time_seconds").and_then(|start| {
        let age = facts.now.as_second() as f64 - start;
        (age >= 0.0).then(|| format!(", up {}", times::length(std::time::Duration::from_secs_f64(age))))
    });
    let (file, free) =
        (metrics.sum("crewcall_store_file_bytes"), metrics.sum("crewcall_store_disk_free_bytes"));
    let store = [
        file.map(|file| format!("{} of jobs", bytes(file))),
        free.map(|free| format!("{} free", bytes(free))),
    ];
    let is_connected = if seen.readiness.checks.broker.ok { "connected" } else { "not connected" };
    let quarantined = metrics.sum("crewcall_quarantine_messages").unwrap_or_default();
    vec![
        (Area::Backend, format!("{}{}{}", facts.url, version.unwrap_or_default(), up.unwrap_or_default())),
        (Area::Broker, format!("the backend is {is_connected}")),
        (Area::Store, store.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        (Area::Workers, workers(seen)),
        (Area::Types, types(seen)),
        (Area::Jobs, jobs(seen, facts)),
        (
            Area::Quarantine,
            if quarantined > 0.0 { format!("{quarantined} messages") } else { "empty".to_owned() },
        ),
    ]
}

fn workers(seen: &BackendFacts) -> String {
    let by_status = ["idle", "busy", "draining", "lost"].map(|status| {
        let count = seen.workers.iter().filter(|worker| worker.status == status).count();
        (count > 0).then(|| format!("{count} {status}"))
    });
    let there = seen.workers.iter().filter(|worker| worker.status != "lost");
    let (busy, slots) =
        there.fold((0, 0), |(busy, slots), worker| (busy + worker.slots_busy, slots + worker.slots));
    match by_status.into_iter().flatten().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        counts => format!("{counts}; {busy} of {slots} slots taken"),
    }
}

fn types(seen: &BackendFacts) -> String {
    let count = |is: fn(&JobType) -> bool| seen.types.iter().filter(|found| is(found)).count();
    let parts = [
        (count(|found| found.workers > 0), "served"),
        (count(|found| found.workers == 0), "without workers"),
        (count(|found| found.paused.is_some()), "paused"),
    ];
    let parts =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    match parts.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        parts => parts,
    }
}

fn jobs(seen: &BackendFacts, facts: &Facts) -> String {
    let counts = STATES.map(|state| {
        let count: u64 = seen.types.iter().map(|found| found.count(state)).sum();
        (count > 0).then(|| format!("{count} {state}"))
    });
    let oldest = seen.types.iter().filter_map(|found| found.oldest_waiting_at.as_deref()).min();
    let oldest =
        oldest.map(|oldest| format!("; the oldest waits for {}", times::age(Some(oldest), facts.now)));
    match counts.into_iter().flatten().collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        counts => counts + &oldest.unwrap_or_default(),
    }
}

/// What is not as it should be.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let seen = match &facts.backend {
        Ok(seen) => seen,
        Err(reason) => {
            let fix = "start it with `crewcall serve` (or `crewcall dev` to try things), look at its log if it should run, and \
                       name it with --url or CREWCALL_URL if it runs elsewhere";
            let message = format!("the backend at {} cannot be asked: {reason}", facts.url);
            return vec![error(Area::Backend, "backend-unreachable", message, fix.to_owned())];
        }
    };
    let one_each =
        [store(seen), broker(seen), disk(seen), version(seen), clock(seen), lost(seen), quarantine(seen)];
    let mut findings: Vec<Finding> = one_each.into_iter().flatten().collect();
    findings.extend(mixed_versions(seen));
    findings.extend(seen.types.iter().flat_map(|found| of_type(found, facts)));
    findings
}

fn store(seen: &BackendFacts) -> Option<Finding> {
    let check = &seen.readiness.checks.store;
    let reason = check.reason.as_deref().unwrap_or("it does not say why");
    let fix = "look whether the disk is full or another program has locked the database; the backend's log says more";
    let message = format!("the backend cannot use its store: {reason}");
    (!check.ok).then(|| error(Area::Store, "store-unavailable", message, fix.to_owned()))
}

fn broker(seen: &BackendFacts) -> Option<Finding> {
    let check = &seen.readiness.checks.broker;
    let reason = check.reason.as_deref().unwrap_or("it does not say why");
    let fix = "look whether RabbitMQ runs (rabbitmqctl status; \"Alarms\" when it takes no messages) and whether the backend's \
               --amqp-url is right; jobs are accepted and wait, and nothing has to be restarted";
    let message = format!("the backend cannot use the broker: {reason}");
    (!check.ok).then(|| error(Area::Broker, "broker-unavailable", message, fix.to_owned()))
}

fn disk(seen: &BackendFacts) -> Option<Finding> {
    let free = seen.metrics.sum("crewcall_store_disk_free_bytes")?;
    if free >= DISK_FREE_BYTES_MIN {
        return None;
    }
    let message = format!("the disk that has the database has {} left", bytes(free));
    let fix = "make room on it, or keep jobs for a shorter time (--retention-completed and the like): a full disk ends the backend";
    let severity = if free < DISK_FREE_BYTES_NEEDED { error } else { warning };
    Some(severity(Area::Store, "disk-nearly-full", message, fix.to_owned()))
}

fn version(seen: &BackendFacts) -> Option<Finding> {
    let theirs = seen.metrics.label("crewcall_build_info", "version")?;
    let ours = env!("CARGO_PKG_VERSION");
    let message = format!("the backend has version {theirs}, this command line {ours}");
    let fix = "update the older one: it does not know what the newer one can say";
    (theirs != ours).then(|| warning(Area::Backend, "version-differs", message, fix.to_owned()))
}

fn clock(seen: &BackendFacts) -> Option<Finding> {
    let skew = seen.readiness.at?.duration_since(seen.answered_at?);
    let which = if skew.is_negative() { "behind" } else { "ahead of" };
    let length = times::length(skew.unsigned_abs());
    let message = format!("the backend's clock is {length} {which} this machine's");
    let fix =
        "set both by NTP (timedatectl status): ages and durations that are shown here are wrong by as much";
    (skew.abs() > CLOCK_SKEW_MAX).then(|| warning(Area::Backend, "clock-skew", message, fix.to_owned()))
}

fn lost(seen: &BackendFacts) -> Option<Finding> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for worker in seen.workers.iter().filter(|worker| worker.status == "lost") {
        *places.entry(format!("{} on {}", worker.name, worker.host)).or_default() += 1;
    }
    let count: usize = places.values().sum();
    let names: Vec<String> = places
        .into_iter()
        .map(|(place, count)| if count > 1 { format!("{count} of {place}") } else { place })
        .collect();
    let message = format!("{} fell silent without a goodbye: {}", workers_word(count), named(&names));
    let fix = "look at their logs (killed? out of memory? cut off from the broker?) and start them again; \
               `crewcall workers ls --status lost` shows when they were last heard of";
    (!names.is_empty()).then(|| warning(Area::Workers, "workers-lost", message, fix.to_owned()))
}

fn workers_word(count: usize) -> String {
    if count == 1 { "a worker".to_owned() } else { format!("{count} workers") }
}

fn quarantine(seen: &BackendFacts) -> Option<Finding> {
    let count = seen.metrics.sum("crewcall_quarantine_messages").filter(|count| *count > 0.0)?;
    let message = format!("{count} messages could not be read and are in quarantine");
    let fix = "`crewcall quarantine ls` says from which queue and why, `-o json` shows them; mend who sends them, then \
               `crewcall quarantine rm --all`";
    Some(warning(Area::Quarantine, "quarantine", message, fix.to_owned()))
}

/// Programs of which workers of several versions are there.
fn mixed_versions(seen: &BackendFacts) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for worker in seen.workers.iter().filter(|worker| worker.status != "lost") {
        versions.entry(&worker.name).or_default().insert(&worker.version);
    }
    let mixed = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    mixed
        .map(|(name, versions)| {
            let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("workers of {name} have different versions: {versions}");
            let fix = "finish the update: `crewcall workers drain` lets one end its work, `-o wide` shows the versions";
            warning(Area::Workers, "worker-versions", message, fix.to_owned())
        })
        .collect()
}

fn of_type(found: &JobType, facts: &Facts) -> Vec<Finding> {
    let name = &found.name;
    let mut findings = Vec::new();
    if let Some(reason) = &found.queue_error {
        let fix = format!(
            "`crewcall topology` shows what differs; when the queue is empty, delete it: \
                           rabbitmqctl delete_queue QUEUE, and the backend declares it anew ({name})"
        );
        findings.push(error(
            Area::Types,
            "type-queue",
            format!("the queue of {name} takes no orders: {reason}"),
            fix,
        ));
    }
    if let Some(reason) = &found.refused {
        let fix = "forget types that nobody needs: crewcall types ls, then crewcall types rm TYPE".to_owned();
        findings.push(error(Area::Types, "type-refused", format!("{name} is not served: {reason}"), fix));
    }
    if let Some(reason) = &found.schema_error {
        let fix = "mend the schema in the worker and start it again; until then any parameters are accepted"
            .to_owned();
        findings.push(warning(
            Area::Types,
            "schema-refused",
            format!("the schema of {name} is not used: {reason}"),
            fix,
        ));
    }
    let waiting = found.count("ready") + found.count("unroutable") + found.count("dispatched");
    if found.workers == 0 && waiting > 0 {
        let since = times::age(found.oldest_waiting_at.as_deref(), facts.now);
        let since = if since.is_empty() { since } else { format!(", the oldest for {since}") };
        let message = format!("{} of {name} wait{since}, and nobody serves the type", jobs_word(waiting));
        let fix = if found.announced {
            format!("start a worker that serves {name}; crewcall workers ls shows who is there")
        } else {
            format!(
                "no worker ever announced {name}: start one, or if the name is a slip, crewcall jobs cancel --type {name}"
            )
        };
        findings.push(warning(Area::Jobs, "type-unserved", message, fix));
    }
    findings
}

fn jobs_word(count: u64) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// Some names, and how many more there are.
fn named(names: &[String]) -> String {
    let shown = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMED_MAX) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}
