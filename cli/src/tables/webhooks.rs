//! How webhooks look.

use super::{consumers::lag, moment, when_and_why};
use crate::{
    api::Webhook,
    duration,
    layout::Column,
    output::{Show, View, fields},
    text::time,
};

/// The type of the jobs that are deliveries. The name is reserved: no worker of somebody else serves it.
const DELIVERY_TYPE: &str = "crewcall.webhook";

impl Show for Webhook {
    const PLURAL: &'static str = "webhooks";
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME").shortened_to(16),
        Column::new("STATE"),
        Column::new("LAG"),
        Column::new("LAG TIME").wide(),
        Column::new("IN FLIGHT").left_out(2),
        Column::new("URL").shortened_to(16),
        Column::new("SUBJECTS").shortened_to(12).left_out(1),
        Column::new("SECRET").wide(),
        Column::new("CHANGED (UTC)").wide(),
        Column::new("BY").wide(),
        Column::new("REASON").wide(),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.clone(),
            self.lag_events.to_string(),
            self.lag_seconds.map(duration::show).unwrap_or_default(),
            self.in_flight.to_string(),
            self.url.clone(),
            self.subjects.join(" "),
            self.fingerprint.clone(),
            time(self.changed_at.as_deref()),
            self.changed_by.clone().unwrap_or_default(),
            self.reason.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let by = |by: &Option<String>| by.as_ref().map(|by| format!(", by {by}")).unwrap_or_default();
        let paused = self.pause.as_ref().map(|note| format!("by {}", when_and_why(note)));
        let retiring = self.retiring.as_ref().map(|retiring| {
            format!(
                "{}, signs as well until {}",
                retiring.fingerprint,
                moment(retiring.until.as_deref(), view)
            )
        });
        fields(
            &[
                ("name", self.name.clone()),
                ("url", self.url.clone()),
                ("state", self.state.clone()),
                ("reason", self.reason.clone().unwrap_or_default()),
                ("paused", paused.unwrap_or_default()),
                ("subjects", self.subjects.join(" ")),
                ("if", self.condition.clone().unwrap_or_default()),
                ("consumer", self.consumer.clone()),
                ("cursor", format!("event {}", self.cursor)),
                ("lag", lag(self.lag_events, self.lag_seconds)),
                ("in flight", deliveries(self.in_flight)),
                ("deliveries", listing(&self.name)),
                ("secret", self.fingerprint.clone()),
                ("retiring", retiring.unwrap_or_default()),
                ("revision", self.revision.to_string()),
                ("created", format!("{}{}", moment(self.created_at.as_deref(), view), by(&self.created_by))),
                ("changed", format!("{}{}", moment(self.changed_at.as_deref(), view), by(&self.changed_by))),
            ],
            view,
        )
    }
}

/// `1 delivery`
fn deliveries(count: u64) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}

/// The command that lists the deliveries to a webhook.
fn listing(name: &str) -> String {
    format!("crewcall jobs ls --type {DELIVERY_TYPE} --label webhook={name}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::{
        api::Document,
        arguments::{Arguments, Command, JobsCommand},
        output::list,
        terminals::{on_terminals, view},
    };

    fn webhooks() -> Vec<Document<Webhook>> {
        serde_json::from_value(json!([
            {
                "name": "alarms", "url": "https://alarms.example/crewcall", "subjects": ["job.failed.invoice.*"], "if": null,
                "consumer": "webhook:alarms", "state": "following", "reason": "It has seen every event.", "cursor": 57,
                "lag_events": 0, "lag_seconds": 0.0, "in_flight": 0, "pause": null, "fingerprint": "f74e1720",
                "retiring": null, "created_at": "2026-11-20T15:00:00.000Z", "created_by": "anna",
                "changed_at": "2026-11-20T15:00:00.000Z", "changed_by": "anna", "revision": 1
            },
            {
                "name": "shop", "url": "https://shop.example/hooks/crewcall?tenant=\u{9b}31m", "consumer": "webhook:shop",
                "subjects": ["order.paid", "order.corrected"], "if": "event.data.total > 100", "state": "paused",
                "reason": "It is paused; 16 events wait for it.", "cursor": 41, "lag_events": 16, "lag_seconds": 3.2, "in_flight": 1,
                "pause": {
                    "by": "crewcall", "reason": "the receiver answered 410 Gone: it wants no more", "at": "2026-11-20T16:07:00.000Z"
                },
                "fingerprint": "a1b2c3d4", "retiring": {"fingerprint": "0d1e2f30", "until": "2026-11-21T16:00:00.000Z"},
                "created_at": "2026-11-20T15:00:00.000Z", "created_by": "anna", "changed_at": "2026-11-20T16:00:00.000Z",
                "changed_by": "alice", "revision": 2
            },
            {"name": "of.a.newer.backend", "state": "asleep"}
        ]))
        .unwrap()
    }

    #[test]
    fn webhooks_in_a_table_and_alone() {
        let webhooks = webhooks();
        let listed = [
            on_terminals(|view| list(&webhooks, view, true)),
            list(&webhooks, &View { is_wide: true, ..view(Some(80), false) }, true),
        ];
        insta::assert_snapshot!("webhooks", listed.join("\n\n"));
        insta::assert_snapshot!("webhook", on_terminals(|view| webhooks[0].details(view)));
        insta::assert_snapshot!(
            "webhook_whose_receiver_is_gone",
            on_terminals(|view| webhooks[1].details(view))
        );
    }

    #[test]
    fn the_command_that_lists_deliveries_is_right() {
        let arguments = Arguments::try_parse_from(listing("shop").split(' ')).unwrap();
        let Command::Jobs(JobsCommand::Ls(jobs)) = arguments.command else { panic!("not jobs ls") };
        let labels = [("webhook".to_owned(), "shop".to_owned())];
        assert_eq!(jobs.filter.job_type.as_deref(), Some(DELIVERY_TYPE));
        assert_eq!(jobs.filter.labels, labels);
    }
}
