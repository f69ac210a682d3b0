//! How workflows look.

use super::{moment, when_and_why};
use crate::{
    api::{Mistake, Workflow, WorkflowVersion},
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
    text::time,
};

impl Show for Workflow {
    const PLURAL: &'static str = "workflows";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shortened_to(16),
        Column::new("VERSION"),
        Column::new("STATE"),
        Column::new("OPEN RUNS"),
        Column::new("LAG").left_out(3),
        Column::new("CHANGED (UTC)").left_out(2),
        Column::new("BY").wide(),
        Column::new("TRIGGERS").shortened_to(12).left_out(1),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        let triggers = self.triggers.as_ref();
        vec![
            self.name.clone(),
            self.version.to_string(),
            state(self).to_owned(),
            self.open_runs.values().sum::<u64>().to_string(),
            triggers.map(|triggers| triggers.lag_events.to_string()).unwrap_or_default(),
            time(self.changed_at.as_deref()),
            self.changed_by.clone().unwrap_or_default(),
            triggers.map(|triggers| triggers.subjects.join(" ")).unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let paused = self.pause.as_ref().map(|note| format!("by {}", when_and_why(note)));
        let open: Vec<String> =
            self.open_runs.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let triggers = self.triggers.clone().unwrap_or_default();
        let by = self.changed_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let without_run = |count: u64, why: &str| match count {
            0 => String::new(),
            count => format!("{} started no run since the backend started: {why}", super::events(count)),
        };
        let about = fields(
            &[
                ("name", self.name.clone()),
                ("state", state(self).to_owned()),
                ("paused", paused.unwrap_or_default()),
                ("version", format!("{}{by}", self.version)),
                ("open runs", open.join(", ")),
                ("triggers", triggers.subjects.join(" ")),
                ("they are", triggers.state.clone()),
                ("because", triggers.reason.clone()),
                (
                    "condition errors",
                    without_run(triggers.condition_errors.count, "the condition could not be evaluated"),
                ),
                ("chains refused", without_run(triggers.refused.count, "the chain of causes is too long")),
                ("created", moment(self.created_at.as_deref(), view)),
                ("changed", moment(self.changed_at.as_deref(), view)),
            ],
            view,
        );
        let parts = [
            Some(about),
            remarks(&self.problems, "DOES NOT FIT ANY MORE", view),
            remarks(&self.warnings, "WARNING", view),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }
}

fn state(workflow: &Workflow) -> &'static str {
    if workflow.pause.is_some() { "paused" } else { "active" }
}

fn remarks(remarks: &[Mistake], title: &'static str, view: &View) -> Option<String> {
    let columns = [Column::new("PLACE").shortened_to(16), Column::new(title).shortened_to(24)];
    let rows = remarks.iter().map(|remark| vec![remark.pointer.clone(), remark.message.clone()]);
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| rows_in_columns(&columns, rows, view, true, Overflow::Wrap))
}

impl Show for WorkflowVersion {
    const PLURAL: &'static str = "versions";
    const COLUMNS: &'static [Column] =
        &[Column::new("VERSION"), Column::new("MADE (UTC)"), Column::new("BY").shortened_to(16)];

    fn identity(&self) -> String {
        self.version.to_string()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        let by = self.made_by.clone().unwrap_or_default();
        vec![self.version.to_string(), time(self.made_at.as_deref()), by]
    }

    fn details(&self, view: &View) -> String {
        let by = self.made_by.clone().unwrap_or_default();
        let made = moment(self.made_at.as_deref(), view);
        fields(&[("version", self.version.to_string()), ("made", made), ("by", by)], view)
    }
}
