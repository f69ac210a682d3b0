//! How the state of an installation looks: a report, and what is on the broker.

use crewcall_amqp::{Declaration, Found};
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::Document,
    diagnosis::{Report, Status, Thing},
    layout::Column,
    output::{Overflow, Show, View, fields, rows_in_columns},
};

/// How narrow a sentence may get beside what it is about.
const SENTENCE_WIDTH_MIN: usize = 24;

/// A line for each area, then what was found, then what could not be looked at.
pub(crate) fn report(report: &Report, view: &View, with_fixes: bool) -> String {
    let sentence = Column::new("").shortened_to(SENTENCE_WIDTH_MIN);
    let columns = [Column::new(""), Column::new(""), sentence];
    let areas = report
        .areas
        .iter()
        .map(|area| vec![area.area.word().to_owned(), area.status.word().to_owned(), area.summary.clone()]);
    let mut parts = vec![rows_in_columns(&columns, areas.collect(), view, false, Overflow::Wrap)];
    let rows = |name: &str, text: &str| vec![name.to_owned(), text.to_owned()];
    let in_columns = |rows| rows_in_columns(&[Column::new(""), sentence], rows, view, false, Overflow::Wrap);
    let said = report.findings.iter().map(|finding| {
        let mut lines = vec![rows(finding.status.word(), &finding.message)];
        lines.extend(with_fixes.then(|| rows("do", &finding.fix)));
        lines
    });
    if with_fixes {
        parts.extend(said.map(in_columns));
    } else if !report.findings.is_empty() {
        parts.push(in_columns(said.flatten().collect()));
    }
    if !report.not_checked.is_empty() {
        let lines = report.not_checked.iter().map(|what| rows("not checked", what)).collect();
        parts.push(in_columns(lines));
    }
    let end = match (report.status, with_fixes) {
        (Status::Ok, _) => "all is well",
        (_, false) => "what to do: crewcall doctor",
        (_, true) => "",
    };
    parts.extend((!end.is_empty()).then(|| end.to_owned()));
    parts.join("\n\n")
}

/// One thing that should be on the broker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TopologyEntry {
    kind: String,
    name: String,
    expected: String,
    found: String,
    messages: Option<u32>,
    consumers: Option<u32>,
    remark: Option<String>,
}

impl TopologyEntry {
    /// What was seen of it, as JSON and for people.
    pub(crate) fn of(thing: &Thing) -> Document<Self> {
        let (kind, name) = thing.named();
        let (found, depth, remark) = match &thing.found {
            Found::AsDeclared(depth) => ("ok", *depth, thing.refusal.as_deref()),
            Found::Different { broker_says } => ("different", None, Some(broker_says.as_str())),
            Found::Missing => ("missing", None, None),
            Found::Refused { broker_says } => ("refused", None, Some(broker_says.as_str())),
            Found::Unknowable => ("not checked", None, None),
        };
        let found = if thing.refusal.is_some() && found == "ok" { "refused" } else { found };
        let entry = json!({
            "kind": kind, "name": name, "expected": expected(&thing.expected), "found": found,
            "messages": depth.map(|depth| depth.messages), "consumers": depth.map(|depth| depth.consumers),
            "remark": remark,
        });
        serde_json::from_value(entry).expect("it has the fields that it was made from")
    }

    /// Whether nobody has to do anything.
    pub(crate) fn is_as_wanted(&self) -> bool {
        matches!(self.found.as_str(), "ok" | "not checked")
    }
}

/// The properties that it should have.
fn expected(declaration: &Declaration) -> String {
    match declaration {
        Declaration::Exchange { kind, alternate, .. } => {
            let kind = format!("{kind:?}").to_lowercase();
            alternate
                .as_ref()
                .map_or_else(|| kind.clone(), |alternate| format!("{kind}, alternate {alternate}"))
        }
        Declaration::QuorumQueue { delivery_limit, dead_letter_exchange, length_max, .. } => {
            let parts = [
                Some("quorum".to_owned()),
                delivery_limit.map(|most| format!("{most} deliveries")),
                dead_letter_exchange.as_ref().map(|exchange| format!("dead letters to {exchange}")),
                length_max.map(|most| format!("{most} messages, the oldest dropped")),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Declaration::Claim { .. } => "quorum, names its backend".to_owned(),
        Declaration::ExclusiveQueue { .. } => "exclusive".to_owned(),
        Declaration::Binding { exchange, routing_key, .. } => match routing_key.as_str() {
            "" => format!("to {exchange}"),
            key => format!("to {exchange} by {key}"),
        },
    }
}

impl Show for TopologyEntry {
    const PLURAL: &'static str = "exchanges and queues";
    const COLUMNS: &'static [Column] = &[
        Column::new("KIND"),
        Column::new("NAME").shortened_to(20),
        Column::new("FOUND"),
        Column::new("MESSAGES").left_out(1),
        Column::new("CONSUMERS").left_out(2),
        Column::new("EXPECTED").shortened_to(12).left_out(4),
        Column::new("REMARK").shortened_to(16).left_out(3),
    ];

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _view: &View) -> Vec<String> {
        let count = |count: Option<u32>| count.map(|count| count.to_string()).unwrap_or_default();
        vec![
            self.kind.clone(),
            self.name.clone(),
            self.found.clone(),
            count(self.messages),
            count(self.consumers),
            self.expected.clone(),
            self.remark.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, view: &View) -> String {
        let names = ["kind", "name", "found", "messages", "consumers", "expected", "remark"];
        let values: Vec<(&str, String)> = names.into_iter().zip(self.row(view)).collect();
        fields(&values, view)
    }
}

#[cfg(test)]
mod tests {
    use crewcall_amqp::QueueDepth;

    use super::*;
    use crate::{
        diagnosis::{
            Facts,
            tests::{broken, healthy},
        },
        output::list,
        terminals::on_terminals,
    };

    #[test]
    fn reports_fit_a_terminal() {
        let of = |facts: &Facts, with_fixes: bool| {
            let found = Report::of(facts);
            on_terminals(|view| report(&found, view, with_fixes))
        };
        insta::assert_snapshot!("healthy", of(&healthy(), true));
        insta::assert_snapshot!("status", of(&broken(), false));
        insta::assert_snapshot!("doctor", of(&broken(), true));
    }

    #[test]
    fn what_is_expected_stands_beside_what_was_found() {
        let queue = |name: &str| Declaration::QuorumQueue {
            name: name.to_owned(),
            delivery_limit: Some(5),
            dead_letter_exchange: Some("crewcall.dead".to_owned()),
            length_max: None,
        };
        let broker_says = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit'".to_owned();
        let depth = QueueDepth { messages: 7, consumers: 2 };
        let submit = Declaration::Exchange {
            name: "crewcall.submit".to_owned(),
            kind: crewcall_amqp::ExchangeKind::Topic,
            alternate: Some("crewcall.unroutable".to_owned()),
        };
        let binding = Declaration::Binding {
            queue: "crewcall.dead".to_owned(),
            exchange: "crewcall.dead".to_owned(),
            routing_key: String::new(),
        };
        let entries: Vec<_> = [
            (submit, Found::AsDeclared(None), None),
            (queue("crewcall.jobs.image.thumbnail"), Found::AsDeclared(Some(depth)), None),
            (
                queue("crewcall.jobs.file.copy"),
                Found::AsDeclared(Some(depth)),
                Some("read access refused".to_owned()),
            ),
            (queue("crewcall.jobs.file.checksum"), Found::Different { broker_says }, None),
            (queue("crewcall.jobs.http.request"), Found::Missing, None),
            (binding, Found::Unknowable, None),
        ]
        .into_iter()
        .map(|(expected, found, refusal)| TopologyEntry::of(&Thing { expected, found, refusal }))
        .collect();
        insta::assert_snapshot!("topology", on_terminals(|view| list(&entries, view, true)));
        let wanted = entries.iter().map(|entry| entry.is_as_wanted()).collect::<Vec<_>>();
        assert_eq!(wanted, [true, true, false, false, false, true]);
    }
}
