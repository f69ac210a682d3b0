//! `crewcall schedules apply|ls|get|next|ticks|trigger|pause|resume|backfill|rm`.

mod apply;
mod manifest;
mod next;

use std::io;

use crate::{
    api::{Backfill, Document, Schedule, Tick},
    arguments::{BackfillArguments, SchedulesCommand, TicksArguments},
    client::{Client, ClientError, schedules::BackfillRange},
    commands::{
        actions::actor,
        lists::{self, Listed},
    },
    exit::{Exit, Failure},
    output::{print, print_json, print_one},
    tables::ticks,
    text::time,
};

/// How many ticks the backend gives at once.
const PAGE_TICKS_MAX: usize = 500;

/// Applies files, lists schedules and ticks, shows one, or does something to it.
///
/// # Errors
///
/// When the backend or standard output fails us, or there is no such schedule.
pub(crate) async fn run(client: &Client, command: &SchedulesCommand) -> Result<Exit, Failure> {
    match command {
        SchedulesCommand::Apply(arguments) => {
            return apply::run(client, &arguments.files, io::stdin()).await;
        }
        SchedulesCommand::Next(arguments) => return next::run(client, arguments, io::stdin()).await,
        SchedulesCommand::Ls { list } => {
            lists::show(list, async || Ok(client.schedules().await?.into())).await?;
        }
        SchedulesCommand::Get { schedule, output } => {
            print_one(&client.schedule(schedule.as_str()).await?, output.format)?;
        }
        SchedulesCommand::Ticks(arguments) => {
            lists::show(&arguments.list, async || read(client, arguments).await).await?;
        }
        SchedulesCommand::Trigger { schedule, output, actor: by } => {
            let tick = client.trigger_schedule(schedule.as_str(), actor(by)).await?;
            match output {
                Some(format) => print_one(&tick, *format)?,
                None => print(&triggered(schedule.as_str(), &tick))?,
            }
        }
        SchedulesCommand::Pause { schedule, actor: by } => {
            client.pause_schedule(schedule.as_str(), actor(by)).await?;
            print(&format!(
                "{schedule} is paused; what it made goes on: crewcall schedules resume {schedule}"
            ))?;
        }
        SchedulesCommand::Resume { schedule, actor: by } => {
            let resumed = client.resume_schedule(schedule.as_str(), actor(by)).await?;
            print(&goes_on(&resumed))?;
        }
        SchedulesCommand::Backfill(arguments) => backfill(client, arguments).await?,
        SchedulesCommand::Rm { schedule } => {
            client.delete_schedule(schedule.as_str()).await?;
            print(&format!("{schedule} is deleted; what it made goes on"))?;
        }
    }
    Ok(Exit::Done)
}

/// Reads as many pages as it takes.
async fn read(client: &Client, arguments: &TicksArguments) -> Result<Listed<Tick>, ClientError> {
    let limit = arguments.limit as usize;
    let states: Vec<&str> = arguments.state.iter().map(|state| state.word()).collect();
    let mut cursor = arguments.cursor.clone();
    let mut items: Vec<Document<Tick>> = Vec::new();
    loop {
        let mut query = vec![("limit", PAGE_TICKS_MAX.min(limit - items.len()).to_string())];
        query.extend((!states.is_empty()).then(|| ("state", states.join(","))));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = client.schedule_ticks(arguments.schedule.as_str(), &query).await?;
        // An empty page ends it too: a backend that always has a next cursor must not keep us here.
        let is_last = page.ticks.is_empty();
        items.extend(page.ticks);
        cursor = page.next_cursor;
        if is_last || cursor.is_none() || items.len() >= limit {
            let next = cursor.map(|cursor| format!("--cursor {cursor}, or a larger --limit"));
            return Ok(Listed { items, next });
        }
    }
}

async fn backfill(client: &Client, arguments: &BackfillArguments) -> Result<(), Failure> {
    let BackfillArguments { schedule, from, to, allow, dry_run, output, actor: by } = arguments;
    let range = BackfillRange { from: *from, to: *to, at_once: *allow, dry_run: *dry_run };
    let backfill = client.backfill_schedule(schedule.as_str(), range, actor(by)).await?;
    match output {
        Some(_) => print_json(&backfill.raw),
        None => print(&made_up_for(schedule.as_str(), &backfill, range)),
    }
}

/// `report.nightly fired: job 0192e4a0-0000-7000-8000-000000000001`
fn triggered(name: &str, tick: &Tick) -> String {
    let made = match (&tick.job_id, &tick.run_id, tick.event) {
        (Some(job), _, _) => format!(": job {job}"),
        (None, Some(run), _) => format!(": run {run}"),
        (None, None, Some(event)) => format!(": event {event}"),
        (None, None, None) => String::new(),
    };
    match tick.state.as_str() {
        "queued" => format!(
            "{name} fires when what it made before is over: crewcall schedules ticks {name} --state queued"
        ),
        state => format!("{name} {state}{made}"),
    }
}

/// `report.nightly goes on: the next tick is at 2026-11-21 00:30:00 UTC`
fn goes_on(schedule: &Schedule) -> String {
    let next = match schedule.next.first() {
        Some(next) => format!("the next tick is at {} UTC", time(Some(&next.tick))),
        None => "no tick is to come".to_owned(),
    };
    format!("{} goes on: {next}", schedule.name)
}

/// `report.nightly makes up for 24 ticks, one after the other: from 2026-11-20 00:00:00 to 2026-11-20 23:00:00 UTC; 2 fired before, or wait to`
fn made_up_for(name: &str, backfill: &Backfill, range: BackfillRange) -> String {
    let before = match backfill.fired_before {
        0 => String::new(),
        count => format!("; {count} fired before, or wait to"),
    };
    if backfill.ticks == 0 {
        return format!("{name} has no tick to make up for in that time{before}");
    }
    let verb = if range.dry_run { "would make" } else { "makes" };
    let how = match (backfill.ticks, range.at_once) {
        (1, _) => "",
        (_, true) => ", all at once",
        (_, false) => ", one after the other",
    };
    let (first, last) = (time(backfill.first.as_deref()), time(backfill.last.as_deref()));
    let when = if backfill.ticks == 1 { format!("{first} UTC") } else { format!("{first} to {last} UTC") };
    format!("{name} {verb} up for {}{how}: {when}{before}", ticks(backfill.ticks))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        arguments::{Arguments, Command},
        canned_backend::{CannedBackend, answer},
    };

    fn parsed(line: &str) -> SchedulesCommand {
        let words = line.split(' ');
        let Command::Schedules(command) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("not schedules")
        };
        command
    }

    #[test]
    fn what_was_done_is_a_sentence() {
        let tick = |tick: Value| triggered("nightly", &serde_json::from_value(tick).unwrap());
        let goes_on = |schedule: Value| goes_on(&serde_json::from_value(schedule).unwrap());
        let made = |backfill: Value, at_once: bool, dry_run: bool| {
            let range = BackfillRange {
                from: jiff::Timestamp::UNIX_EPOCH,
                to: jiff::Timestamp::UNIX_EPOCH,
                at_once,
                dry_run,
            };
            made_up_for("nightly", &serde_json::from_value(backfill).unwrap(), range)
        };
        let (first, last) = ("2026-11-20T00:00:00.000Z", "2026-11-20T23:00:00.000Z");
        let told = [
            tick(json!({"state": "fired", "job_id": "0192e4a0-0000-7000-8000-000000000001"})),
            tick(json!({"state": "fired", "run_id": "0192e4a0-0000-7000-8000-000000000002"})),
            tick(json!({"state": "fired", "event": 17})),
            tick(json!({"state": "queued"})),
            goes_on(json!({"name": "nightly", "next": [{"tick": first}]})),
            goes_on(json!({"name": "nightly", "next": []})),
            made(json!({"ticks": 24, "first": first, "last": last, "fired_before": 2}), false, false),
            made(json!({"ticks": 24, "first": first, "last": last, "fired_before": 0}), true, true),
            made(json!({"ticks": 1, "first": first, "last": first}), true, false),
            made(json!({"ticks": 0, "first": null, "fired_before": 3}), false, false),
        ];
        insta::assert_snapshot!(told.join("\n"));
    }

    #[tokio::test]
    async fn ticks_are_read_page_by_page() {
        let SchedulesCommand::Ticks(arguments) =
            parsed("crewcall schedules ticks nightly --state skipped,missed -n 600")
        else {
            panic!("not ticks")
        };
        let page = |count: usize, next: Value| {
            let ticks = vec![json!({"tick": "2026-11-20T00:00:00.000Z"}); count];
            let page = json!({"ticks": ticks, "next_cursor": next});
            answer(("200 OK", "application/json", &page.to_string()))
        };
        let (backend, client) = CannedBackend::listen().await;
        let answers = [page(500, json!("abc")), page(100, json!("def"))];
        let (listed, heard) = tokio::join!(read(&client, &arguments), backend.give(answers));
        let listed = listed.unwrap();
        assert_eq!(listed.items.len(), 600);
        assert_eq!(listed.next.as_deref(), Some("--cursor def, or a larger --limit"));
        let asked = heard.map(|request| request.split(" HTTP").next().unwrap().to_owned());
        let path = "GET /v1/schedules/nightly/ticks?limit=";
        let states = "&state=skipped%2Cmissed";
        assert_eq!(asked, [format!("{path}500{states}"), format!("{path}100{states}&cursor=abc")]);
    }

    #[tokio::test]
    async fn a_backfill_says_what_was_said() {
        let line = "crewcall schedules backfill nightly --from 2026-11-20 --to 2026-11-21 --allow --dry-run --by anna";
        let SchedulesCommand::Backfill(arguments) = parsed(line) else { panic!("not backfill") };
        let (backend, client) = CannedBackend::listen().await;
        let answers = [answer(("200 OK", "application/json", r#"{"ticks": 2, "dry_run": true}"#))];
        let (done, heard) = tokio::join!(backfill(&client, &arguments), backend.give(answers));
        done.unwrap();
        let body: Value = serde_json::from_str(heard[0].split_once("\r\n\r\n").unwrap().1).unwrap();
        let expected = json!({
            "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "overlap": "allow", "dry_run": true, "by": "anna",
        });
        assert_eq!(body, expected);
    }
}
