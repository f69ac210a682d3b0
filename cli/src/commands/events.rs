//! `crewcall events publish|ls|get|tail`: the log of what was published.

use std::io;

use serde_json::{Map, Value, json};

use crate::{
    api::{Document, PublishedEvent},
    arguments::{EVENTS_MAX, EventsCommand, EventsListArguments, PublishArguments, TailArguments},
    client::{
        Client, ClientError, Submitted,
        event_log::{LogFeedEvent, LogQuery},
    },
    commands::{
        lists::{self, Listed},
        resend::{RESEND_MAX, send_again},
        submit::said,
    },
    exit::{Exit, Failure},
    layout::fit,
    output::{Format, View, print, print_jsonl, print_message, print_one},
    parameters::{ParameterSource, Wanted},
    progress::{BACK, went_away},
    tables::event_line,
};

/// Publishes an event, lists some, shows one, or follows them.
///
/// # Errors
///
/// When the event or the request are wrong, or the backend or standard output fails us.
pub(crate) async fn run(client: &Client, command: &EventsCommand) -> Result<Exit, Failure> {
    match command {
        EventsCommand::Publish(arguments) => publish(client, arguments).await?,
        EventsCommand::Ls(arguments) => {
            lists::show(&arguments.list, async || read(client, arguments).await).await?;
        }
        EventsCommand::Get { sequence, output } => print_one(&client.event(*sequence).await?, output.format)?,
        EventsCommand::Tail(arguments) => tail(client, arguments).await?,
    }
    Ok(Exit::Done)
}

async fn publish(client: &Client, arguments: &PublishArguments) -> Result<(), Failure> {
    let PublishArguments { subject, fields, data, .. } = arguments;
    if subject.contains('=') || subject == "-" {
        let what = format!("name the subject first: crewcall events publish SUBJECT {subject}");
        return Err(Failure::Usage(what));
    }
    let source = ParameterSource { words: fields, base: data.as_deref(), what: Wanted::Data };
    let event = event(arguments, source.read(io::stdin())?);
    let Submitted { made, replayed } = send(client, arguments, &event).await?;
    if replayed {
        print_message(&format!("recorded before, as event {}", made.sequence));
    }
    print_one(&made, arguments.output.unwrap_or(Format::Name))
}

/// The event as the API reads it.
fn event(arguments: &PublishArguments, data: Map<String, Value>) -> Value {
    let PublishArguments { subject, event_id, occurred_at, .. } = arguments;
    let event = said([
        ("subject", Some(json!(subject))),
        ("data", Some(Value::Object(data))),
        ("id", event_id.as_ref().map(|id| json!(id))),
        ("occurred_at", occurred_at.map(|time| json!(time.to_string()))),
    ]);
    Value::Object(event)
}

/// Only what has an id is sent again while the backend is away: without one it might be recorded twice.
async fn send(
    client: &Client,
    arguments: &PublishArguments,
    event: &Value,
) -> Result<Submitted<PublishedEvent>, ClientError> {
    match &arguments.event_id {
        Some(_) => send_again(|| client.publish(event), RESEND_MAX, "publishing").await,
        None => client.publish(event).await,
    }
}

/// Reads as many parts of the log as it takes: a backend looks at a limited number of events for each.
async fn read(
    client: &Client,
    arguments: &EventsListArguments,
) -> Result<Listed<PublishedEvent>, ClientError> {
    let limit = arguments.limit as usize;
    let mut query = LogQuery { subject: arguments.subject.as_deref(), after: arguments.after, limit: None };
    let mut items = Vec::new();
    loop {
        query.limit = Some(limit - items.len());
        let page = client.events(query).await?;
        // A part that leads nowhere ends it too: a strange backend must not keep us here.
        let is_last = page.after >= page.head || query.after.is_some_and(|after| page.after <= after);
        items.extend(page.events);
        if is_last || items.len() >= limit {
            let larger = if i64::from(arguments.limit) < EVENTS_MAX { ", or a larger --limit" } else { "" };
            let next = (page.after < page.head).then(|| format!("--after {}{larger}", page.after));
            return Ok(Listed { items, next });
        }
        query.after = Some(page.after);
    }
}

async fn tail(client: &Client, arguments: &TailArguments) -> Result<(), Failure> {
    let TailArguments { subject, after, output } = arguments;
    let after = match after {
        Some(after) => *after,
        // Named, so that nothing is left out if the backend goes away before the first event.
        None => client.events(LogQuery { limit: Some(1), ..LogQuery::default() }).await?.head,
    };
    let mut feed = client.follow_events(subject.as_deref(), after);
    let mut was_lost = false;
    loop {
        match feed.next().await {
            Ok(LogFeedEvent::Event(event)) => print_event(&event, output.format)?,
            Ok(LogFeedEvent::Lost(reason)) => {
                was_lost = true;
                print_message(&went_away(&reason));
            }
            Ok(LogFeedEvent::Back) => print_message(BACK),
            Err(error) if was_lost => return Err(coming_back(error)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Who comes back to a log that ends before the last event they saw did not name a wrong place: it is another log.
fn coming_back(error: ClientError) -> Failure {
    let place = match &error {
        ClientError::Problem(problem) => problem.errors.iter().find(|mistake| mistake.pointer == "?after"),
        ClientError::Unreachable { .. } | ClientError::Broker(_) | ClientError::Strange { .. } => None,
    };
    match place {
        Some(mistake) => Failure::Usage(format!("the backend has another log now: {}", mistake.message)),
        None => error.into(),
    }
}

fn print_event(event: &Document<PublishedEvent>, format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => print(&line(event, &View::of_stdout(format))),
        Format::Wide => print(&line(event, &View { width: None, ..View::of_stdout(format) })),
        Format::Json | Format::Jsonl => print_jsonl(&event.raw),
        Format::Name => print_one(event, format),
    }
}

/// `17  order.paid  2026-11-20 16:07:00  {"order":"4711"}`
fn line(event: &PublishedEvent, view: &View) -> String {
    let line = event_line(event, view).replace(['\n', '\t'], " ");
    view.width.map_or_else(|| line.clone(), |width| fit(&line, width))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        arguments::{Arguments, Command},
        canned_backend::{CannedBackend, answer},
        terminals::{on_terminals, view},
    };

    fn parsed(line: &str) -> EventsCommand {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Events(command) = arguments.command else { panic!("not events") };
        command
    }

    fn publication(line: &str) -> PublishArguments {
        let EventsCommand::Publish(arguments) = parsed(line) else { panic!("not publish") };
        arguments
    }

    const JSON: &str = "application/json";
    const STREAM: &str = "text/event-stream";
    const RECORDED: &str = r#"{"sequence": 7, "subject": "a", "data": {}}"#;

    #[test]
    fn only_what_was_said_is_published() {
        let event = |line: &str| {
            let arguments = publication(line);
            let source = ParameterSource { words: &arguments.fields, base: None, what: Wanted::Data };
            event(&arguments, source.read(io::empty()).unwrap())
        };
        assert_eq!(event("crewcall event publish a"), json!({"subject": "a", "data": {}}));
        let all =
            "crewcall events publish order.paid n=1 m:=2 --id x --occurred-at 2026-11-20T17:00:00+01:00";
        let expected = json!({
            "subject": "order.paid", "data": {"n": "1", "m": 2}, "id": "x", "occurred_at": "2026-11-20T16:00:00Z"
        });
        assert_eq!(event(all), expected);
    }

    #[tokio::test]
    async fn the_subject_comes_first() {
        let (_backend, client) = CannedBackend::listen().await;
        let refused = publish(&client, &publication("crewcall events publish amount:=5")).await.unwrap_err();
        assert_eq!(refused.to_string(), "name the subject first: crewcall events publish SUBJECT amount:=5");
    }

    #[tokio::test]
    async fn an_event_with_an_id_is_sent_again() {
        let arguments = publication("crewcall events publish a --id x");
        let event = event(&arguments, Map::new());
        let (backend, client) = CannedBackend::listen().await;
        let answers = [String::new(), answer(("201 Created", JSON, RECORDED))];
        let (sent, heard) = tokio::join!(send(&client, &arguments, &event), backend.give(answers));
        let Submitted { made, replayed } = sent.unwrap();
        assert_eq!((made.sequence, replayed), (7, false));
        let bodies = heard.map(|text| text.split("\r\n\r\n").nth(1).unwrap().to_owned());
        assert_eq!(bodies[0], bodies[1]);
    }

    #[tokio::test]
    async fn an_event_without_an_id_is_sent_once() {
        let arguments = publication("crewcall events publish a");
        let event = event(&arguments, Map::new());
        let (backend, client) = CannedBackend::listen().await;
        let answers = [String::new(), answer(("201 Created", JSON, RECORDED))];
        let sent = tokio::select! {
            sent = send(&client, &arguments, &event) => sent,
            _ = backend.give(answers) => panic!("published twice"),
        };
        assert!(matches!(sent, Err(ClientError::Unreachable { .. })));
    }

    fn targets<const COUNT: usize>(requests: &[String; COUNT]) -> [&str; COUNT] {
        std::array::from_fn(|index| requests[index].split(' ').nth(1).unwrap())
    }

    #[tokio::test]
    async fn a_list_goes_on_where_a_part_has_few_events() {
        let EventsCommand::Ls(arguments) = parsed("crewcall events ls --subject order.* --limit 2") else {
            panic!("not ls")
        };
        let (backend, client) = CannedBackend::listen().await;
        let page = |events: &str, after: u64| {
            let page = format!(r#"{{"events": [{events}], "after": {after}, "oldest": 1, "head": 30000}}"#);
            answer(("200 OK", JSON, &page))
        };
        let answers = [page("", 10_000), page(RECORDED, 20_000), page(RECORDED, 25_000)];
        let (listed, heard) = tokio::join!(read(&client, &arguments), backend.give(answers));
        let listed = listed.unwrap();
        assert_eq!(
            (listed.items.len(), listed.next.as_deref()),
            (2, Some("--after 25000, or a larger --limit"))
        );
        let expected = [
            "/v1/events?subject=order.*&limit=2",
            "/v1/events?subject=order.*&after=10000&limit=2",
            "/v1/events?subject=order.*&after=20000&limit=1",
        ];
        assert_eq!(targets(&heard), expected);
    }

    #[tokio::test]
    async fn whoever_follows_goes_on_after_the_last_event_and_is_told_what_is_gone() {
        let EventsCommand::Tail(arguments) = parsed("crewcall events tail -o name") else {
            panic!("not tail")
        };
        let (backend, client) = CannedBackend::listen().await;
        let problem = r#"{"status": 410, "code": "events-gone", "detail": "the events after 7 are deleted"}"#;
        let answers = [
            answer(("200 OK", JSON, r#"{"events": [], "after": 5, "head": 6}"#)),
            answer(("200 OK", STREAM, "")),
            answer(("200 OK", STREAM, &format!("event: event\nid: 7\ndata: {RECORDED}\n\n"))),
            answer(("410 Gone", "application/problem+json", problem)),
        ];
        let (ended, heard) = tokio::join!(tail(&client, &arguments), backend.give(answers));
        assert_eq!(ended.unwrap_err().to_string(), "the events after 7 are deleted [events-gone]");
        let watch = "/v1/events/watch?after=6";
        assert_eq!(targets(&heard), ["/v1/events?limit=1", watch, watch, watch], "nothing falls in between");
        let seen = heard.map(|text| text.contains("last-event-id: 7"));
        assert_eq!(seen, [false, false, false, true]);
    }

    #[test]
    fn a_log_that_ends_before_what_was_seen_is_another_one() {
        let problem = |pointer: &str| {
            let errors =
                json!([{"pointer": pointer, "message": "the log has no event 16 yet; its newest is 0"}]);
            let problem = json!({"status": 422, "code": "invalid-query", "errors": errors});
            coming_back(ClientError::Problem(serde_json::from_value(problem).unwrap())).to_string()
        };
        let another = "the backend has another log now: the log has no event 16 yet; its newest is 0";
        assert_eq!(problem("?after"), another);
        assert!(problem("?subject").starts_with("--subject: "));
    }

    #[test]
    fn an_event_is_a_line() {
        let events = [
            json!({"sequence": 7, "subject": "order.paid", "data": {"n": 1}, "recorded_at": "2026-11-20T16:07:00.123Z"}),
            json!({
                "sequence": 1234, "subject": "order.cancelled", "id": "github:a1b2", "data": {"why": "x\u{9b}".repeat(150)},
                "recorded_at": "2026-11-20T16:07:01.000Z", "occurred_at": "2026-11-20T16:00:00.000Z",
            }),
        ];
        let events = events.map(|event| serde_json::from_value::<PublishedEvent>(event).unwrap());
        let drawn = |view: &View| events.iter().map(|event| line(event, view)).collect::<Vec<_>>().join("\n");
        let wide = View { is_wide: true, ..view(None, false) };
        insta::assert_snapshot!([on_terminals(drawn), drawn(&view(None, false)), drawn(&wide)].join("\n\n"));
    }
}
