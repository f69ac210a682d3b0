//! How published events look.

use super::moment;
use crate::{
    api::PublishedEvent,
    layout::{Column, GAP},
    output::{Show, View, fields},
    text::{inline, printable_json, time},
};

/// How much of an event's data a line shows, in characters; on a terminal the line ends earlier.
const DATA_CHARACTERS_MAX: usize = 200;

impl Show for PublishedEvent {
    const PLURAL: &'static str = "events";
    const COLUMNS: &'static [Column] = &[
        Column::new("SEQUENCE"),
        Column::new("SUBJECT").shortened_to(15),
        Column::new("RECORDED (UTC)").left_out(2),
        Column::new("OCCURRED (UTC)").wide(),
        Column::new("ID").shortened_to(10).left_out(3),
        Column::new("DATA").shortened_to(24).left_out(1),
    ];

    fn identity(&self) -> String {
        self.sequence.to_string()
    }

    fn row(&self, view: &View) -> Vec<String> {
        let data = if view.is_wide {
            printable_json(&self.data.to_string())
        } else {
            inline(&self.data, DATA_CHARACTERS_MAX)
        };
        vec![
            self.sequence.to_string(),
            self.subject.clone(),
            time(self.recorded_at.as_deref()),
            time(self.occurred_at.as_deref()),
            self.id.clone().unwrap_or_default(),
            data,
        ]
    }

    fn details(&self, view: &View) -> String {
        let about = fields(
            &[
                ("sequence", self.sequence.to_string()),
                ("subject", self.subject.clone()),
                ("id", self.id.clone().unwrap_or_default()),
                ("occurred", moment(self.occurred_at.as_deref(), view)),
                ("recorded", moment(self.recorded_at.as_deref(), view)),
            ],
            view,
        );
        // Not wrapped: what is copied stays JSON.
        format!("{about}\n\n{}", printable_json(&format!("{:#}", self.data)))
    }
}

/// The row of a list that is never complete: its cells in a line, as wide as they are.
pub(crate) fn line(event: &PublishedEvent, view: &View) -> String {
    let shown = PublishedEvent::COLUMNS.iter().map(|column| view.is_wide || !column.is_wide);
    let cells = event.row(view).into_iter().zip(shown);
    let cells = cells.filter_map(|(cell, is_shown)| (is_shown && !cell.is_empty()).then_some(cell));
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP))
}
