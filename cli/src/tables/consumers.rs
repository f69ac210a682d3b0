//! How consumers look.

use super::{moment, when_and_why};
use crate::{
    api::{Consumer, EventNote, Remarks, Replay},
    duration,
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::{inline, time},
};

/// How much of what a consumer makes its details show, in characters; `-o json` shows all.
const JOB_CHARACTERS_MAX: usize = 2_000;

/// Why an event whose condition failed made no job.
const CONDITION_ERROR: &str = "the condition could not be evaluated";
/// Why an event that was refused made no job.
const CHAIN_TOO_LONG: &str = "the chain of causes is too long";

impl Show for Consumer {
    const PLURAL: &'static str = "consumers";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shortened_to(16),
        Column::new("STATE"),
        Column::new("CURSOR").left_out(2),
        Column::new("LAG"),
        Column::new("LAG TIME").wide(),
        Column::new("IN FLIGHT").left_out(3),
        Column::new("CHANGED (UTC)").wide(),
        Column::new("SUBJECTS").shortened_to(12).left_out(1),
        Column::new("REASON").wide(),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.clone(),
            self.cursor.to_string(),
            self.lag_events.to_string(),
            self.lag_seconds.map(duration::show).unwrap_or_default(),
            format!("{}/{}", self.in_flight, self.in_flight_max),
            time(self.changed_at.as_deref()),
            self.subjects.join(" "),
            self.reason.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let paused = self.pause.as_ref().map(|note| format!("by {}", when_and_why(note)));
        let about = fields(
            &[
                ("name", self.name.clone()),
                ("state", self.state.clone()),
                ("reason", self.reason.clone().unwrap_or_default()),
                ("paused", paused.unwrap_or_default()),
                ("subjects", self.subjects.join(" ")),
                ("if", self.condition.clone().unwrap_or_default()),
                ("then", inline(&self.then, JOB_CHARACTERS_MAX)),
                ("cursor", format!("event {} of {}", self.cursor, self.head)),
                ("lag", lag(self.lag_events, self.lag_seconds)),
                ("in flight", format!("{} of at most {}", jobs(self.in_flight), self.in_flight_max)),
                ("condition errors", without_job(&self.condition_errors, CONDITION_ERROR)),
                ("chains refused", without_job(&self.refused, CHAIN_TOO_LONG)),
                ("created", moment(self.created_at.as_deref(), view)),
                ("changed", moment(self.changed_at.as_deref(), view)),
            ],
            view,
        );
        let parts = [
            Some(about),
            replays(&self.replays, view),
            remarks(&self.condition_errors, "CONDITION ERROR", view),
            remarks(&self.refused, "REFUSED", view),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }
}

/// `16 events, 3s 200ms`
pub(super) fn lag(lag_events: u64, lag_seconds: Option<f64>) -> String {
    let seconds = lag_seconds.filter(|_| lag_events > 0);
    let time = seconds.map(|seconds| format!(", {}", duration::show(seconds)));
    format!("{}{}", events(lag_events), time.unwrap_or_default())
}

/// `1 event`
pub(crate) fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn jobs(count: u64) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// The columns of the replays of a consumer.
const REPLAY_COLUMNS: [Column; 8] = [
    Column::new("REPLAY"),
    Column::new("AFTER"),
    Column::new("TO"),
    Column::new("CURSOR"),
    Column::new("REQUESTED (UTC)").wide(),
    Column::new("FINISHED (UTC)").left_out(1),
    Column::new("BY").shortened_to(8).left_out(2),
    Column::new("REASON").shortened_to(12).left_out(3),
];

fn replays(replays: &[Replay], view: &View) -> Option<String> {
    let rows = replays.iter().map(|replay| {
        vec![
            replay.replay.to_string(),
            replay.after.to_string(),
            replay.to.to_string(),
            replay.cursor.to_string(),
            time(replay.requested_at.as_deref()),
            replay.finished_at.as_deref().map_or_else(|| "goes on".to_owned(), |at| time(Some(at))),
            replay.by.clone().unwrap_or_default(),
            replay.reason.clone().unwrap_or_default(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| rows_in_columns(&REPLAY_COLUMNS, rows, view, true, Overflow::Wrap))
}

/// `2 events made no job since the backend started: the condition could not be evaluated`
fn without_job(remarks: &Remarks, why: &str) -> String {
    match remarks.count {
        0 => String::new(),
        count => format!("{} made no job since the backend started: {why}", events(count)),
    }
}

/// The last of them, below a title.
fn remarks(remarks: &Remarks, title: &'static str, view: &View) -> Option<String> {
    let columns =
        [Column::new("EVENT"), Column::new("AT (UTC)").left_out(1), Column::new(title).shortened_to(24)];
    let row = |note: &EventNote| vec![note.sequence.to_string(), time(note.at.as_deref()), said(note)];
    let rows: Vec<Vec<String>> = remarks.last.iter().map(row).collect();
    (!rows.is_empty()).then(|| rows_in_columns(&columns, rows, view, true, Overflow::Wrap))
}

/// The message, and below it how the event came to be.
fn said(note: &EventNote) -> String {
    let chain = note.chain.join(" → ");
    let parts = [note.message.as_str(), chain.as_str()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::Document,
        output::list,
        terminals::{on_terminals, view},
    };

    fn consumers() -> Vec<Document<Consumer>> {
        serde_json::from_value(json!([
            {
                "name": "failures", "subjects": ["job.failed.#"], "then": {"job": {"type": "http.request"}}, "in_flight_max": 1000,
                "start": "now", "created_at": "2026-11-20T15:00:00.000Z", "changed_at": "2026-11-20T15:00:00.000Z",
                "state": "following", "reason": "It has seen every event.", "cursor": 57, "head": 57, "lag_events": 0,
                "lag_seconds": 0.0, "in_flight": 0, "replays": [], "condition_errors": {"count": 0, "last": []},
                "refused": {"count": 0, "last": []}
            },
            {
                "name": "invoices", "subjects": ["order.paid", "order.corrected"], "if": "event.data.total > 100",
                "then": {"job": {"type": "invoice.render", "parameters": {"order": "${{ event.data.id }}"}}},
                "in_flight_max": 1, "start": "now", "created_at": "2026-11-20T15:00:00.000Z",
                "changed_at": "2026-11-20T16:00:00.000Z", "state": "paused",
                "reason": "It is paused; 16 events wait for it.", "cursor": 41, "head": 57, "lag_events": 16, "lag_seconds": 3.2,
                "in_flight": 1, "pause": {"by": "alice", "reason": "wrong prices", "at": "2026-11-20T16:07:00.000Z"},
                "replays": [
                    {
                        "replay": 1, "after": 10, "to": 50, "cursor": 50, "by": "anna", "reason": "the tax was wrong",
                        "requested_at": "2026-11-20T16:01:00.000Z", "finished_at": "2026-11-20T16:02:00.000Z"
                    },
                    {"replay": 2, "after": 10, "to": 12, "cursor": 10, "by": null, "reason": null, "finished_at": null}
                ],
                "condition_errors": {"count": 2, "last": [
                    {"sequence": 7, "at": "2026-11-20T16:03:00.000Z", "message": "No such key: total\u{9b}31m"}
                ]},
                "refused": {"count": 1, "last": [{
                    "sequence": 99, "at": "2026-11-20T16:04:00.000Z", "message": "more than 16 deep",
                    "chain": ["event 80", "job 0192e4a0-0000-7000-8000-000000000001", "event 99"]
                }]}
            },
            {"name": "of.a.newer.backend", "state": "asleep"}
        ]))
        .unwrap()
    }

    #[test]
    fn consumers_in_a_table_and_alone() {
        let consumers = consumers();
        let listed = [
            on_terminals(|view| list(&consumers, view, true)),
            list(&consumers, &View { is_wide: true, ..view(Some(80), false) }, true),
        ];
        insta::assert_snapshot!("consumers", listed.join("\n\n"));
        insta::assert_snapshot!("consumer", on_terminals(|view| consumers[0].details(view)));
        insta::assert_snapshot!("consumer_in_trouble", on_terminals(|view| consumers[1].details(view)));
    }
}
