//! How runs of workflows look.

use super::{DATA_CHARACTERS_MAX, by_schedule, moment};
use crate::{
    api::{ItemCounts, JobError, JournalLine, Run, RunItem, RunStep, StartedBy},
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::{inline, time},
    times,
};

impl Show for Run {
    const PLURAL: &'static str = "runs";
    const COLUMNS: &'static [Column] = &[
        Column::new("ID"),
        Column::new("WORKFLOW").shortened_to(15),
        Column::new("VERSION").wide(),
        Column::new("STATE"),
        Column::new("STEPS"),
        Column::new("AGE"),
        Column::new("TOOK").left_out(2),
        Column::new("CREATED (UTC)").wide(),
        Column::new("ENDED (UTC)").wide(),
        Column::new("STARTED BY").shortened_to(16).left_out(1),
    ];

    fn identity(&self) -> String {
        self.id.clone()
    }

    fn row(&self, view: &View) -> Vec<String> {
        let (over, total) = self.steps_over();
        vec![
            view.id(&self.id).to_owned(),
            self.workflow.clone(),
            self.version.to_string(),
            state(self),
            format!("{over}/{total}"),
            times::age(self.created_at.as_deref(), view.now),
            took(self, view),
            time(self.created_at.as_deref()),
            time(self.ended_at.as_deref()),
            started_by(&self.started_by),
        ]
    }

    fn details(&self, view: &View) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let again =
            if self.generation > 1 { format!("; begun {} times", self.generation) } else { String::new() };
        let about = fields(
            &[
                ("id", self.id.clone()),
                ("workflow", format!("{}, version {}{again}", self.workflow, self.version)),
                ("state", self.state.word().to_owned()),
                ("paused", if self.paused { "yes".to_owned() } else { String::new() }),
                ("because", self.reason.clone().unwrap_or_default()),
                ("started by", started_by(&self.started_by)),
                ("labels", labels.join(" ")),
                ("key", self.key.clone().unwrap_or_default()),
                ("created", moment(self.created_at.as_deref(), view)),
                ("started", moment(self.started_at.as_deref(), view)),
                ("deadline", moment(self.deadline_at.as_deref(), view)),
                ("ended", moment(self.ended_at.as_deref(), view)),
                ("took", took(self, view)),
                ("data", inline(&self.data, DATA_CHARACTERS_MAX)),
                ("outputs", inline(&self.outputs, DATA_CHARACTERS_MAX)),
                ("no outputs", self.outputs_error.clone().unwrap_or_default()),
            ],
            view,
        );
        let rows: Vec<Vec<String>> = self.steps().iter().map(|step| row_of(step, view)).collect();
        if rows.is_empty() {
            return about;
        }
        format!("{about}\n\n{}", rows_in_columns(&STEP_COLUMNS, rows, view, true, Overflow::Wrap))
    }
}

fn state(run: &Run) -> String {
    if run.paused { format!("{}, paused", run.state.word()) } else { run.state.word().to_owned() }
}

fn took(run: &Run, view: &View) -> String {
    times::took(run.started_at.as_deref(), run.ended_at.as_deref(), view.now)
}

/// `anna`, `event 17`, `event 17 (consumer invoices)`, `step publish of run 0192e4a0-…`, `schedule report.nightly, tick 2026-11-20 00:30:00`
fn started_by(by: &StartedBy) -> String {
    let StartedBy { by, event, consumer, run, step, schedule, tick } = by;
    if let Some(schedule) = schedule {
        return by_schedule(schedule, tick.as_deref());
    }
    match (by, event, run) {
        (Some(by), ..) => by.clone(),
        (None, Some(event), _) => match consumer.as_deref().filter(|name| !name.starts_with("workflow:")) {
            Some(consumer) => format!("event {event} (consumer {consumer})"),
            None => format!("event {event}"),
        },
        (None, None, Some(run)) => match step {
            Some(step) => format!("step {step} of run {run}"),
            None => format!("run {run}"),
        },
        (None, None, None) => String::new(),
    }
}

/// The columns of the steps of a run.
const STEP_COLUMNS: [Column; 5] = [
    Column::new("STEP").shortened_to(10),
    Column::new("STATE"),
    Column::new("ITEMS").left_out(2),
    Column::new("TOOK").left_out(1),
    Column::new("REMARK").shortened_to(24),
];

fn row_of(step: &RunStep, view: &View) -> Vec<String> {
    vec![
        step.name.clone(),
        step.state.clone(),
        step.items.map(items).unwrap_or_default(),
        times::took(step.began_at.as_deref(), step.ended_at.as_deref(), view.now),
        step_remark(step),
    ]
}

/// `3/10, 1 failed`
fn items(counts: ItemCounts) -> String {
    let over = counts.completed + counts.failed + counts.cancelled;
    let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
    format!("{over}/{}{failed}", counts.total)
}

/// What is most worth knowing of a step: what it waits for, why it is as it is, who decided, its work.
pub(crate) fn step_remark(step: &RunStep) -> String {
    let decided = step.decision.as_ref().map(|decision| {
        let verb = if decision.approved { "approved" } else { "rejected" };
        let comment = decision.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{verb} by {}{comment}", decision.by)
    });
    let undone = step.compensation.map(|counts| format!("undone {}", items(counts)));
    let work = match (&step.job, &step.run) {
        (Some(job), _) => Some(format!("job {job}")),
        (None, Some(run)) => Some(format!("run {run}")),
        (None, None) => step.event.map(|event| format!("event {event}")),
    };
    let parts = [step.waiting.clone(), step.reason.clone(), decided, undone, work];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// `encode running 3/10; waits for 7 of its items`: a line for a change.
pub(crate) fn step_line(step: &RunStep) -> String {
    let items = step.items.map(|counts| format!(" {}", items(counts))).unwrap_or_default();
    let remark = step_remark(step);
    let colon = if remark.is_empty() { "" } else { ": " };
    format!("{} {}{items}{colon}{remark}", step.name, step.state)
}

impl Show for RunItem {
    const PLURAL: &'static str = "items";
    const COLUMNS: &'static [Column] = &[
        Column::new("INDEX"),
        Column::new("STATE"),
        Column::new("JOB OR RUN"),
        Column::new("RESULT OR ERROR").shortened_to(20).left_out(1),
    ];

    fn identity(&self) -> String {
        self.index.to_string()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        let work = self.job.as_ref().or(self.run.as_ref());
        let out = match &self.error {
            Some(error) => error.line(),
            None => inline(&self.result, DATA_CHARACTERS_MAX),
        };
        vec![self.index.to_string(), self.state.clone(), work.cloned().unwrap_or_default(), out]
    }

    fn details(&self, view: &View) -> String {
        fields(
            &[
                ("index", self.index.to_string()),
                ("state", self.state.clone()),
                ("job", self.job.clone().unwrap_or_default()),
                ("run", self.run.clone().unwrap_or_default()),
                ("result", inline(&self.result, DATA_CHARACTERS_MAX)),
                ("error", self.error.as_ref().map(JobError::line).unwrap_or_default()),
            ],
            view,
        )
    }
}

impl Show for JournalLine {
    const PLURAL: &'static str = "lines";
    const COLUMNS: &'static [Column] = &[
        Column::new("LINE").wide(),
        Column::new("AT (UTC)"),
        Column::new("WHAT").wide(),
        Column::new("STEP").wide(),
        Column::new("MESSAGE").shortened_to(24),
    ];

    fn identity(&self) -> String {
        self.number.to_string()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        vec![
            self.number.to_string(),
            time(self.at.as_deref()),
            self.what.clone(),
            self.step.clone().unwrap_or_default(),
            self.message.clone(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let what = ("what", self.what.clone());
        let step = ("step", self.step.clone().unwrap_or_default());
        let at = ("at", moment(self.at.as_deref(), view));
        fields(&[("line", self.number.to_string()), at, what, step, ("message", self.message.clone())], view)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{Document, Workflow},
        output::list,
        terminals::{on_terminals, view},
    };

    fn runs() -> Vec<Document<Run>> {
        let total = json!({"total": 5, "completed": 2, "failed": 0, "skipped": 1, "cancelled": 0, "open": 2});
        serde_json::from_value(json!([
            {
                "id": "0192e4a0-0000-7000-8000-000000000001", "workflow": "asset.publish", "version": 3, "state": "running",
                "reason": null, "started_by": {"event": 17, "consumer": "workflow:asset.publish", "pass": 1},
                "labels": {"shop": "x"}, "key": "a.mov", "paused": true, "generation": 2,
                "created_at": "2026-11-20T16:07:00.000Z", "started_at": "2026-11-20T16:07:01.000Z", "ended_at": null,
                "deadline_at": "2026-11-20T17:07:01.000Z", "data": {"source": "a.mov"},
                "steps": [
                    {"name": "probe", "kind": "job", "state": "completed", "job": "0192e4a0-0000-7000-8000-000000000002",
                     "began_at": "2026-11-20T16:07:01.000Z", "ended_at": "2026-11-20T16:07:04.000Z"},
                    {"name": "encode", "kind": "each", "state": "running", "began_at": "2026-11-20T16:07:04.000Z",
                     "items": {"total": 10, "made": 10, "completed": 3, "failed": 1, "cancelled": 0, "open": 6},
                     "waiting": "6 of its items are under way"},
                    {"name": "check", "kind": "approval", "state": "completed",
                     "decision": {"approved": true, "by": "anna", "comment": "fine"}},
                    {"name": "paid", "kind": "wait", "state": "waiting", "waiting": "waits for an event until 2026-11-20T16:20:00.000Z"},
                    {"name": "tell", "kind": "job", "state": "skipped", "reason": "none of the steps that it needs failed"}
                ]
            },
            {
                "id": "0192e4a0-0020-7000-8000-000000000002", "workflow": "asset.announce", "version": 1, "state": "failed",
                "started_by": {"run": "0192e4a0-0000-7000-8000-000000000001"}, "created_at": "2026-11-20T16:07:00.000Z",
                "started_at": "2026-11-20T16:07:01.000Z", "ended_at": "2026-11-20T16:08:01.000Z", "steps": total
            },
            {
                "id": "0192e4a0-0030-7000-8000-000000000003", "workflow": "asset.announce", "version": 1, "state": "petrified",
                "started_by": {"schedule": "workflow:asset.announce:0", "tick": "2026-11-20T16:00:00.000Z"}
            }
        ]))
        .unwrap()
    }

    #[test]
    fn runs_in_a_table_and_alone() {
        insta::assert_snapshot!("runs", on_terminals(|view| list(&runs(), view, true)));
        insta::assert_snapshot!("run", on_terminals(|view| runs()[0].details(view)));
        assert_eq!(runs()[1].steps_over(), (3, 5));
    }

    #[test]
    fn a_change_of_a_step_is_a_line() {
        let lines: Vec<String> = runs()[0].steps().iter().map(step_line).collect();
        insta::assert_snapshot!("step_lines", lines.join("\n"));
    }

    #[test]
    fn items_and_journals_are_tables() {
        let items: Vec<Document<RunItem>> = serde_json::from_value(json!([
            {"index": 0, "state": "completed", "job": "0192e4a0-0000-7000-8000-000000000002", "result": {"bytes": 1}},
            {"index": 1, "state": "failed", "job": "0192e4a0-0000-7000-8000-000000000003",
             "error": {"kind": "handler", "message": "no luck"}}
        ]))
        .unwrap();
        let lines: Vec<Document<JournalLine>> = serde_json::from_value(json!([
            {"number": 1, "change": 2, "at": "2026-11-20T16:07:01.000Z", "what": "started", "message": "there is a place for the run, and it begins"},
            {"number": 2, "change": 2, "at": "2026-11-20T16:07:02.000Z", "what": "step_began", "step": "probe", "message": "step \"probe\" began"}
        ]))
        .unwrap();
        insta::assert_snapshot!("items", on_terminals(|view| list(&items, view, true)));
        insta::assert_snapshot!("journal", on_terminals(|view| list(&lines, view, true)));
        assert!(items[1].details(&view(None, false)).contains("no luck"));
        assert!(lines[1].details(&view(None, false)).contains("step_began"));
    }

    #[test]
    fn workflows_in_a_table_and_alone() {
        let workflows: Vec<Document<Workflow>> = serde_json::from_value(json!([
            {
                "name": "asset.publish", "version": 3, "created_at": "2026-11-20T16:00:00.000Z",
                "changed_at": "2026-11-20T16:07:00.000Z", "changed_by": "anna", "open_runs": {"queued": 2, "running": 1},
                "pause": {"by": "ben", "reason": "too loud", "at": "2026-11-20T16:08:00.000Z"},
                "triggers": {"subjects": ["asset.uploaded"], "state": "paused", "reason": "ben paused it: too loud", "lag_events": 4,
                             "condition_errors": {"count": 1, "last": []}},
                "problems": [], "warnings": [{"pointer": "/steps/probe/job", "message": "no worker has ever announced \"media.probe\""}]
            },
            {"name": "b", "version": 1, "open_runs": {}}
        ]))
        .unwrap();
        insta::assert_snapshot!("workflows", on_terminals(|view| list(&workflows, view, true)));
        insta::assert_snapshot!("workflow", on_terminals(|view| workflows[0].details(view)));
    }
}
