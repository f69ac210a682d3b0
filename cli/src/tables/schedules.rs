//! How schedules and their ticks look.

use super::{moment, when_and_why};
use crate::{
    api::{OpenTick, Schedule, Tick, UpcomingTick},
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::{inline, time},
    times,
};

/// How much of what a schedule does its details show, in characters; `-o json` shows all.
const DOCUMENT_CHARACTERS_MAX: usize = 2_000;

impl Show for Schedule {
    const PLURAL: &'static str = "schedules";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shortened_to(16),
        Column::new("STATE"),
        Column::new("WHEN").shortened_to(12).left_out(2),
        Column::new("NEXT"),
        Column::new("NEXT TICK (UTC)").wide(),
        Column::new("LAST").left_out(1),
        Column::new("LAST COMPLETED (UTC)").wide(),
        Column::new("FAILURES").wide(),
        Column::new("QUEUED").wide(),
        Column::new("CHANGED (UTC)").wide(),
        Column::new("BY").wide(),
        Column::new("REASON").wide(),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        // The ticks of one that is paused come, and do nothing.
        let next = self.next.first().map(|next| next.tick.as_str()).filter(|_| self.pause.is_none());
        vec![
            self.name.clone(),
            self.state.clone(),
            self.words.clone(),
            next.map(|next| ahead(next, view)).unwrap_or_default(),
            time(next),
            last(self, view),
            time(self.last_completed.as_deref()),
            self.failures.to_string(),
            self.queued.to_string(),
            time(self.changed_at.as_deref()),
            self.changed_by.clone().unwrap_or_default(),
            self.reason.clone(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let paused = self.pause.as_ref().map(|note| format!("by {}", when_and_why(note)));
        let by = self.changed_by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let changed = moment(self.changed_at.as_deref(), view);
        let about = fields(
            &[
                ("name", self.name.clone()),
                ("workflow", self.workflow.clone().unwrap_or_default()),
                ("state", self.state.clone()),
                ("reason", self.reason.clone()),
                ("paused", paused.unwrap_or_default()),
                ("when", self.words.clone()),
                ("time zones", self.zone_data.clone()),
                ("queued", if self.queued == 0 { String::new() } else { ticks(self.queued) }),
                ("failures", failures(self.failures)),
                ("last completed", moment(self.last_completed.as_deref(), view)),
                ("created", moment(self.created_at.as_deref(), view)),
                ("changed", if changed.is_empty() { changed } else { format!("{changed}{by}") }),
                ("document", inline(&self.document, DOCUMENT_CHARACTERS_MAX)),
            ],
            view,
        );
        let parts = [Some(about), open(&self.open, view), next(self, view)];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }
}

/// `in 5m30s`, or `now` when that is over: what comes next comes at once.
fn ahead(tick: &str, view: &View) -> String {
    match times::age(Some(tick), view.now) {
        age if age.starts_with("in ") => age,
        _ => "now".to_owned(),
    }
}

/// When it fired well for the last time; or how often it failed since.
fn last(schedule: &Schedule, view: &View) -> String {
    match schedule.failures {
        0 => times::age(schedule.last_completed.as_deref(), view.now),
        failures => format!("{failures} failed"),
    }
}

fn failures(count: u64) -> String {
    match count {
        0 => String::new(),
        1 => "the last one failed".to_owned(),
        count => format!("{count} in a row"),
    }
}

/// `1 tick`
pub(crate) fn ticks(count: u64) -> String {
    if count == 1 { "1 tick".to_owned() } else { format!("{count} ticks") }
}

/// What it made that is not over.
fn open(open: &[OpenTick], view: &View) -> Option<String> {
    let columns = [Column::new("OPEN (UTC)"), Column::new("ORIGIN"), Column::new("MADE")];
    let row = |tick: &OpenTick| {
        let made = made(tick.job_id.as_deref(), tick.run_id.as_deref(), None);
        vec![time(Some(&tick.tick)), tick.origin.clone(), made]
    };
    let rows: Vec<Vec<String>> = open.iter().map(row).collect();
    (!rows.is_empty()).then(|| rows_in_columns(&columns, rows, view, true, Overflow::Wrap))
}

fn next(schedule: &Schedule, view: &View) -> Option<String> {
    let rows: Vec<Vec<String>> = schedule.next.iter().map(|next| next.row(view)).collect();
    (!rows.is_empty()).then(|| rows_in_columns(UpcomingTick::COLUMNS, rows, view, true, Overflow::Wrap))
}

/// `job 0192e4a0-0000-7000-8000-000000000001`
fn made(job: Option<&str>, run: Option<&str>, event: Option<u64>) -> String {
    match (job, run, event) {
        (Some(job), _, _) => format!("job {job}"),
        (None, Some(run), _) => format!("run {run}"),
        (None, None, Some(event)) => format!("event {event}"),
        (None, None, None) => String::new(),
    }
}

impl Show for UpcomingTick {
    const PLURAL: &'static str = "ticks to come";
    const COLUMNS: &'static [Column] = &[
        Column::new("NEXT (UTC)"),
        Column::new("IN"),
        Column::new("LOCAL").left_out(2),
        Column::new("DUE (UTC)").wide(),
        Column::new("REMARK").shortened_to(16).left_out(1),
    ];

    fn identity(&self) -> String {
        self.tick.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        let ahead = ahead(&self.tick, view);
        vec![
            time(Some(&self.tick)),
            ahead.trim_start_matches("in ").to_owned(),
            self.local.clone(),
            time(self.due_at.as_deref()),
            self.remark.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        fields(
            &[
                ("tick", moment(Some(&self.tick), view)),
                ("due", moment(self.due_at.as_deref(), view)),
                ("local", self.local.clone()),
                ("remark", self.remark.clone().unwrap_or_default()),
            ],
            view,
        )
    }
}

impl Show for Tick {
    const PLURAL: &'static str = "ticks";
    const COLUMNS: &'static [Column] = &[
        Column::new("TICK (UTC)"),
        Column::new("LAST TICK (UTC)").wide(),
        Column::new("COUNT").left_out(3),
        Column::new("STATE"),
        Column::new("ORIGIN").left_out(5),
        Column::new("OUTCOME").left_out(2),
        Column::new("DECIDED (UTC)").wide(),
        Column::new("ENDED (UTC)").wide(),
        Column::new("MADE").left_out(4),
        Column::new("REASON").shortened_to(12).left_out(1),
    ];

    fn identity(&self) -> String {
        self.tick.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        let short = |id: &Option<String>| {
            let characters = if view.is_wide { usize::MAX } else { View::ID_CHARACTERS_MIN };
            id.as_ref().map(|id| id.chars().take(characters).collect::<String>())
        };
        vec![
            time(Some(&self.tick)),
            time(self.last_tick.as_deref()),
            self.count.to_string(),
            self.state.clone(),
            self.origin.clone(),
            self.outcome.clone().unwrap_or_default(),
            time(self.decided_at.as_deref()),
            time(self.ended_at.as_deref()),
            made(short(&self.job_id).as_deref(), short(&self.run_id).as_deref(), self.event),
            self.reason.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let last = self.last_tick.as_deref().filter(|_| self.count > 1);
        let more = last.map(|last| format!("{} up to {}", ticks(self.count), time(Some(last))));
        fields(
            &[
                ("tick", moment(Some(&self.tick), view)),
                ("stands for", more.unwrap_or_default()),
                ("state", self.state.clone()),
                ("reason", self.reason.clone().unwrap_or_default()),
                ("origin", self.origin.clone()),
                ("decided", moment(self.decided_at.as_deref(), view)),
                ("made", made(self.job_id.as_deref(), self.run_id.as_deref(), self.event)),
                ("outcome", self.outcome.clone().unwrap_or_default()),
                ("ended", moment(self.ended_at.as_deref(), view)),
            ],
            view,
        )
    }
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

    fn schedules() -> Vec<Document<Schedule>> {
        serde_json::from_value(json!([
            {
                "name": "report.nightly", "state": "active", "reason": "the next tick is at 2026-11-21T02:30:00+02:00",
                "words": "At 02:30 (Europe/Athens)", "zone_data": "system 2026b",
                "next": [
                    {"tick": "2026-11-21T00:30:00.000Z", "due_at": "2026-11-21T00:30:04.000Z", "local": "2026-11-21T02:30:00+02:00"},
                    {"tick": "2027-03-28T00:30:00.000Z", "due_at": "2027-03-28T00:30:01.000Z", "local": "2027-03-28T02:30:00+02:00",
                     "remark": "the clocks go forward and there is no 03:30 on that day: this is the first moment after"}
                ],
                "open": [{"tick": "2026-11-20T00:30:00.000Z", "origin": "clock", "job_id": "0192e4a0-0000-7000-8000-000000000001"}],
                "queued": 2, "failures": 0, "last_completed": "2026-11-19T00:30:00.000Z", "pause": null,
                "created_at": "2026-11-20T15:00:00.000Z", "changed_at": "2026-11-20T16:00:00.000Z", "changed_by": "anna", "revision": 3,
                "document": {"cron": "30 2 * * *", "timezone": "Europe/Athens", "job": {"type": "report.render\u{9b}31m"}}
            },
            {
                "name": "workflow:asset.publish:0", "workflow": "asset.publish", "state": "paused", "reason": "paused by alice: wrong prices",
                "words": "every 90 seconds", "next": [{"tick": "2026-11-20T16:08:30.000Z"}], "failures": 3,
                "pause": {"by": "alice", "reason": "wrong prices", "at": "2026-11-20T16:07:00.000Z"}
            },
            {"name": "of.a.newer.backend", "state": "asleep"}
        ]))
        .unwrap()
    }

    fn made() -> Vec<Document<Tick>> {
        serde_json::from_value(json!([
            {
                "tick": "2026-11-20T16:06:00.000Z", "last_tick": "2026-11-20T16:06:00.000Z", "count": 1, "state": "fired", "origin": "clock",
                "decided_at": "2026-11-20T16:06:00.004Z", "job_id": "0192e4a0-0000-7000-8000-000000000001",
                "outcome": "completed", "ended_at": "2026-11-20T16:06:03.000Z"
            },
            {
                "tick": "2026-11-20T15:00:00.000Z", "last_tick": "2026-11-20T16:05:00.000Z", "count": 66, "state": "skipped",
                "origin": "clock", "reason": "an earlier one was not over", "decided_at": "2026-11-20T16:05:00.004Z"
            },
            {"tick": "2026-11-20T14:07:12.345Z", "count": 1, "state": "fired", "origin": "hand", "event": 17}
        ]))
        .unwrap()
    }

    #[test]
    fn schedules_in_a_table_and_alone() {
        let schedules = schedules();
        let listed = [
            on_terminals(|view| list(&schedules, view, true)),
            list(&schedules, &View { is_wide: true, ..view(Some(80), false) }, true),
        ];
        insta::assert_snapshot!("schedules", listed.join("\n\n"));
        insta::assert_snapshot!("schedule", on_terminals(|view| schedules[0].details(view)));
        insta::assert_snapshot!("schedule_of_a_workflow", on_terminals(|view| schedules[1].details(view)));
    }

    #[test]
    fn ticks_in_a_table_and_alone() {
        let (made, upcoming) = (made(), &schedules()[0].next);
        let listed = [
            on_terminals(|view| list(&made, view, true)),
            list(&made, &View { is_wide: true, ..view(Some(80), false) }, true),
            on_terminals(|view| list(upcoming, view, true)),
        ];
        insta::assert_snapshot!("ticks", listed.join("\n\n"));
        insta::assert_snapshot!("tick", on_terminals(|view| made[1].details(view)));
    }
}
