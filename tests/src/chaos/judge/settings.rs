//! Whether what operators set for types was kept to, and whose turn it was meanwhile.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Facts, shown, time};
use crate::chaos::{
    fault::Fault,
    submission_log::{Set, Setting},
};

/// When a job was accepted and when its transaction was committed may be so far apart. Who was accepted so long before a
/// pause was ended waited in the store by then.
const COMMITTED_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// How many more attempts than slots of a rate may begin in a time: the one at its start, and one that is made up for.
const SLOTS_MORE: f64 = 2.0;

/// Limits of attempts at once that were exceeded by attempts that were sent while they held. Each of these counts from
/// before it began until after it ended, whatever broke meanwhile, so nothing excuses it.
pub(super) fn limits_exceeded(facts: &Facts) -> Vec<String> {
    let mut exceeded = Vec::new();
    for setting in &facts.known.settings {
        let Set::RunningMax(most) = setting.set else { continue };
        let ran = ran_under(facts, setting);
        for (id, began, _) in &ran {
            let beside = ran.iter().filter(|(_, from, until)| from <= began && began < until);
            let beside: Vec<&str> = beside.map(|(id, ..)| *id).collect();
            if beside.len() as u64 > most && *began < setting.until {
                exceeded.push(format!("{setting:?}: when {id} began at {began}, these ran: {beside:?}"));
                break;
            }
        }
    }
    exceeded
}

/// Rates that were exceeded by attempts that were sent, and began, while they held. One that is sent is one slot, whatever
/// breaks.
pub(super) fn rates_exceeded(facts: &Facts) -> Vec<String> {
    let mut exceeded = Vec::new();
    for setting in &facts.known.settings {
        let Set::RatePerSecond(rate) = setting.set else { continue };
        let most = setting.until.duration_since(setting.from).as_secs_f64() * rate + SLOTS_MORE;
        let began: Vec<&str> = ran_under(facts, setting)
            .into_iter()
            .filter_map(|(id, began, _)| (began < setting.until).then_some(id))
            .collect();
        if began.len() as f64 > most {
            exceeded.push(format!("{setting:?}: these began meanwhile: {began:?}"));
        }
    }
    exceeded
}

/// The attempts that were sent under a setting, with when they began and ended.
fn ran_under<'a>(facts: &'a Facts, setting: &Setting) -> Vec<(&'a str, Timestamp, Timestamp)> {
    let of_type = facts.jobs.iter().filter(|(_, job)| job["type"] == setting.job_type);
    let attempts = of_type.flat_map(|(id, _)| facts.attempts_of(id).iter().map(move |attempt| (id, attempt)));
    let sent_meanwhile = attempts.filter(|(id, attempt)| {
        let sent = facts.sent_at(id, attempt.number);
        sent >= setting.from && sent < setting.until
    });
    let ran = sent_meanwhile
        .filter_map(|(id, attempt)| Some((id.as_str(), attempt.started_at?, attempt.finished_at)));
    ran.collect()
}

/// Jobs that waited while their type was paused, and were sent before others that waited as well and came first by their
/// priority.
pub(super) fn out_of_turn(facts: &Facts) -> Vec<String> {
    let mut unfair = Vec::new();
    for setting in facts.known.settings.iter().filter(|setting| setting.set == Set::Pause) {
        let mut waited: Vec<(i64, &Value)> = facts
            .jobs
            .iter()
            .filter(|(id, job)| waited(facts, setting, id, job))
            .filter_map(|(id, job)| Some((*facts.dispatches.get(id)?, job)))
            .collect();
        waited.sort_by_key(|(dispatch, _)| *dispatch);
        for pair in waited.windows(2) {
            if let [(_, first), (_, next)] = pair
                && first["priority"].as_u64() < next["priority"].as_u64()
            {
                unfair.push(format!("{setting:?}: {} was sent before {}", shown(first), shown(next)));
            }
        }
    }
    unfair
}

/// Whether a job waited when a pause was ended, and has been sent once since.
fn waited(facts: &Facts, setting: &Setting, id: &str, job: &Value) -> bool {
    let Some((created, ended)) = time(&job["created_at"]).zip(time(&job["finished_at"])) else {
        return false;
    };
    let came_meanwhile = created >= setting.from && created + COMMITTED_WITHIN < setting.until;
    let is_due = facts.submission(job).is_some_and(|submission| submission.body["delay_seconds"].is_null());
    // Whatever was sent again was sent later.
    let once = job["attempt"] == 1
        && facts.executions_of(id, 1).len() == 1
        && !facts.is_retried(id)
        && !facts.log.repairs.iter().any(|repair| repair.job == id);
    let comes_back = |fault: Fault| fault.removes_a_route() || fault.loses(None);
    job["type"] == setting.job_type
        && came_meanwhile
        && is_due
        && once
        && !facts.blame.struck(comes_back, setting.from, ended)
}
