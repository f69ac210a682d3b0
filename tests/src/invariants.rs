//! What must hold whatever breaks, and how it was seen to hold.
//!
//! The numbers are those of `docs/faults.md`, which says what each invariant promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    path::Path,
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use uuid::Uuid;

use crate::api::Api;

/// How many jobs are read at once.
const PAGE_JOBS: usize = 500;

/// What was seen to hold, one line for each invariant.
#[derive(Debug, Default)]
pub struct Invariants {
    lines: Vec<(&'static str, String)>,
}

impl Invariants {
    /// Adds one that the test itself checked, with what it saw.
    pub fn hold(&mut self, invariant: &'static str, evidence: impl Display) -> &mut Self {
        self.lines.push((invariant, evidence.to_string()));
        self
    }

    /// Prints them under the name of a fault, such as "F1 the broker restarts while publishing".
    #[expect(clippy::print_stdout, reason = "the report of a test, shown with --show-output")]
    pub fn print(&self, fault: &str) {
        println!("{fault}\n{self}");
    }
}

impl Display for Invariants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(invariant, evidence)| writeln!(f, "    {invariant:<4} {evidence}"))
    }
}

/// The jobs that a test knows of.
#[derive(Debug, Default)]
pub struct Submissions {
    /// Those that were accepted.
    pub accepted: BTreeSet<String>,
    /// How many requests got no answer, so that nobody knows whether their job was accepted.
    pub unanswered: usize,
}

/// Reads back every job through the API and by SQL, after all are over.
///
/// # Errors
///
/// Which invariant does not hold, and for which job.
pub async fn check(api: &Api, database: &Path, submissions: &Submissions) -> anyhow::Result<Invariants> {
    let Submissions { accepted, unanswered } = submissions;
    let mut found = Invariants::default();
    let sql = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let before = stored_ends(&sql)?;
    let jobs = read_all(api).await?;
    let after = stored_ends(&sql)?;
    for id in accepted {
        let job = jobs.get(id).with_context(|| format!("I2: {id} was accepted and is not there"))?;
        let state = job["state"].as_str().unwrap_or_default();
        ensure!(matches!(state, "completed" | "failed" | "cancelled"), "I1: {id} is not over: {job}");
        let (stored, later) = (before.get(id), after.get(id));
        ensure!(stored.is_some_and(|(stored, _)| stored == state), "I1: {id} is stored as {stored:?}: {job}");
        ensure!(stored == later, "I7: {id} changed after its end: {stored:?}, then {later:?}");
    }
    found.hold("I1", format_args!("{0} of {0} accepted jobs are over", accepted.len()));
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0));
    let stored = usize::try_from(count(
        "SELECT count(*) FROM jobs WHERE seq NOT IN (SELECT job_seq FROM job_causes)
            AND seq NOT IN (SELECT job_seq FROM run_items WHERE job_seq IS NOT NULL)
            AND id NOT IN (SELECT job_id FROM ticks WHERE job_id IS NOT NULL)",
    )?)?;
    let possible = accepted.len()..=accepted.len() + unanswered;
    ensure!(possible.contains(&stored), "I2: {stored} jobs are stored, {possible:?} were accepted");
    found.hold("I2", format_args!("{stored} jobs are stored; {unanswered} submissions had no answer"));
    let twice = count(
        "SELECT count(*) FROM jobs WHERE (SELECT count(*) FROM attempts WHERE job_seq = seq AND outcome = 'completed')
            <> (state = 'completed')",
    )?;
    ensure!(twice == 0, "I3: {twice} jobs have not exactly one conclusion");
    found.hold("I3", "every completed job has one completed attempt, no other job has any");
    let overcharged = count(
        "SELECT count(*) FROM jobs WHERE max_attempts < (SELECT count(*) FROM attempts WHERE job_seq = seq)
            OR attempt < (SELECT max(attempt) FROM attempts WHERE job_seq = seq)",
    )?;
    ensure!(overcharged == 0, "I4: {overcharged} jobs were charged more attempts than they have");
    let charged = count("SELECT count(*) FROM attempts")?;
    found.hold("I4", format_args!("{charged} attempts were charged, each once, none too many"));
    let other = count(
        "SELECT count(*) FROM jobs JOIN attempts ON job_seq = seq AND outcome = 'completed'
            WHERE attempts.attempt <> jobs.attempt",
    )?;
    ensure!(other == 0, "I5: {other} jobs have the result of an attempt that was not their last");
    found.hold("I5", "every result is that of the job's last attempt");
    found.hold("I7", "no job changed after its end");
    let (events, oldest, newest) = sql.query_row(
        "SELECT count(*), coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM events",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
    )?;
    if events > 0 {
        let sequenced = count("SELECT value FROM counters WHERE name = 'events_sequenced'")?;
        let is_whole = newest - oldest + 1 == events && newest == sequenced;
        ensure!(is_whole, "E1: {events} events from {oldest} to {newest}, of {sequenced}: there is a gap");
        found.hold("E1", format_args!("{events} events from {oldest} to {newest}, without a gap"));
    }
    check_consumers(&sql, &mut found)?;
    check_runs(&sql, &mut found)?;
    check_ticks(&sql, &mut found)?;
    check_followers(&sql, &mut found)?;
    let sound: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(sound == "ok", "I12: the database is damaged: {sound}");
    found.hold("I12", "the database's integrity check is clean");
    Ok(found)
}

/// E2, by SQL: what consumers made is behind their cursors, one job for each event. That nothing was left out, the tests see
/// which know what was published.
fn check_consumers(sql: &Connection, found: &mut Invariants) -> anyhow::Result<()> {
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0));
    let made = count("SELECT count(*) FROM job_causes")?;
    if made > 0 {
        let astray = count(
            "SELECT count(*) FROM job_causes JOIN consumers ON name = consumer AND consumers.pass = job_causes.pass
                WHERE sequence > cursor",
        )?;
        ensure!(astray == 0, "E2: {astray} jobs were made of events that their consumer has not passed");
        let twice = count(
            "SELECT count(*) FROM (SELECT 1 FROM job_causes GROUP BY consumer, pass, sequence HAVING count(*) > 1)",
        )?;
        ensure!(twice == 0, "E2: {twice} events made several jobs");
        found.hold("E2", format_args!("{made} jobs of consumers, each of one event, behind its cursor"));
    }
    Ok(())
}

/// E2 of runs, and E4 to E6, by SQL.
fn check_runs(sql: &Connection, found: &mut Invariants) -> anyhow::Result<()> {
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0));
    let runs = count("SELECT count(*) FROM runs")?;
    if runs == 0 {
        return Ok(());
    }
    let made = count("SELECT count(*) FROM runs WHERE pass IS NOT NULL")?;
    if made > 0 {
        let astray = count(
            "SELECT count(*) FROM runs JOIN consumers ON name = consumer AND consumers.pass = runs.pass
                WHERE sequence > cursor",
        )?;
        ensure!(astray == 0, "E2: {astray} runs were made of events that their consumer has not passed");
        let twice = count(
            "SELECT count(*) FROM (SELECT 1 FROM runs WHERE pass IS NOT NULL GROUP BY pass, sequence
                HAVING count(*) > 1)",
        )?;
        ensure!(twice == 0, "E2: {twice} events made several runs");
        found.hold("E2", format_args!("{made} runs of consumers, each of one event, behind its cursor"));
    }
    let twice = count(
        "SELECT count(*) FROM (SELECT 1 FROM run_items WHERE job_seq IS NOT NULL OR child_run_id IS NOT NULL
            GROUP BY run_seq, step, role, item, generation HAVING count(*) > 1)",
    )?;
    ensure!(twice == 0, "E4: {twice} items have several jobs");
    let of_nothing = count(
        "SELECT count(*) FROM run_items WHERE NOT EXISTS (SELECT 1 FROM run_steps
            WHERE run_steps.run_seq = run_items.run_seq AND run_steps.step = run_items.step)",
    )?;
    ensure!(of_nothing == 0, "E4: {of_nothing} items are of steps that never began");
    let miscounted = count(
        "SELECT count(*) FROM run_steps WHERE items_made - items_completed - items_failed - items_cancelled <>
            (SELECT count(*) FROM run_items WHERE run_items.run_seq = run_steps.run_seq AND role = 'work'
                AND run_items.step = run_steps.step AND run_items.generation = run_steps.generation
                AND ended_version IS NULL)",
    )?;
    ensure!(miscounted == 0, "E4: {miscounted} steps count other open items than there are");
    let items = count("SELECT count(*) FROM run_items")?;
    found.hold("E4", format_args!("{items} items of {runs} runs, each with one job, as they are counted"));
    let over = "runs.ended_at IS NOT NULL";
    let left = count(&format!(
        "SELECT count(*) FROM runs JOIN run_items ON run_seq = runs.seq JOIN jobs ON jobs.seq = job_seq
            WHERE {over} AND jobs.state NOT IN ('completed', 'failed', 'cancelled')"
    ))?;
    ensure!(left == 0, "E5: {left} jobs are open of runs that are over");
    let left = count(&format!("SELECT count(*) FROM waits JOIN runs ON run_seq = runs.seq WHERE {over}"))?;
    ensure!(left == 0, "E5: {left} waits are open of runs that are over");
    found.hold("E5", "no run that is over has an open job or wait");
    let stuck = count(
        "SELECT count(*) FROM runs WHERE ended_at IS NULL AND state <> 'queued' AND is_paused = 0
            AND NOT EXISTS (SELECT 1 FROM run_items WHERE run_seq = runs.seq AND ended_version IS NULL)
            AND NOT EXISTS (SELECT 1 FROM run_steps WHERE run_seq = runs.seq
                AND (state = 'waiting' OR is_due OR items_making > 0 OR undo_making > 0))",
    )?;
    ensure!(stuck == 0, "E6: {stuck} runs are open and wait for nothing");
    found.hold("E6", "every open run waits for something with a name");
    Ok(())
}

/// E3, by SQL: a tick fires once, what it made is there and ended as it says, and no tick is without a record. Which moments are ticks
/// can be told without a calendar where a schedule ticks every so many seconds and was never changed.
fn check_ticks(sql: &Connection, found: &mut Invariants) -> anyhow::Result<()> {
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0));
    let fired = count("SELECT count(*) FROM ticks WHERE state = 'fired'")?;
    let ticks = count("SELECT coalesce(sum(count), 0) FROM ticks")?;
    if ticks == 0 {
        return Ok(());
    }
    let twice = count(
        "SELECT count(*) FROM (SELECT 1 FROM ticks WHERE state IN ('fired', 'queued') AND origin <> 'hand'
            GROUP BY schedule_id, tick HAVING count(*) > 1)",
    )?;
    ensure!(twice == 0, "E3: {twice} ticks fired more than once");
    let astray = count(
        "SELECT count(*) FROM ticks LEFT JOIN jobs ON jobs.id = ticks.job_id
            LEFT JOIN runs ON runs.id = ticks.run_id WHERE ticks.state = 'fired'
            AND (ticks.job_id IS NULL) + (ticks.run_id IS NULL) + (ticks.sequence IS NULL) <> 2
            OR (jobs.state IN ('completed', 'failed', 'cancelled') AND ticks.outcome IS NOT jobs.state)
            OR (runs.ended_at IS NOT NULL AND ticks.outcome IS NOT runs.state)
            OR (jobs.state IN ('blocked', 'scheduled', 'ready', 'unroutable', 'dispatched', 'running') AND ticks.outcome IS NOT NULL)",
    )?;
    ensure!(astray == 0, "E3: {astray} ticks say something else than what they made");
    let unasked = count(
        "SELECT count(*) FROM runs WHERE schedule IS NOT NULL AND NOT EXISTS
            (SELECT 1 FROM ticks WHERE run_id = runs.id AND tick = runs.tick)",
    )?;
    ensure!(unasked == 0, "E3: {unasked} runs say that a tick made them, and it does not");
    let gaps = count(
        "SELECT count(*) FROM (SELECT json_extract(document, '$.every_seconds') * 1000 AS every, tick, last_tick, count,
                lag(last_tick) OVER (PARTITION BY ticks.schedule_id ORDER BY tick) AS before
            FROM ticks JOIN schedules ON schedules.id = ticks.schedule_id
                JOIN schedule_documents ON schedule_documents.schedule_id = ticks.schedule_id
            WHERE origin = 'clock' AND revision = 1 AND fired_ahead IS NULL AND every IS NOT NULL
                AND json_extract(document, '$.from') IS NULL)
            WHERE (before IS NOT NULL AND tick - before <> every) OR (last_tick - tick) / every + 1 <> count",
    )?;
    ensure!(gaps == 0, "E3: {gaps} records of ticks do not follow each other");
    found.hold("E3", format_args!("{ticks} ticks without a gap, of which {fired} fired, each once"));
    Ok(())
}

/// E8, by SQL: a job is blocked as long as one is open that it comes after, and no longer.
fn check_followers(sql: &Connection, found: &mut Invariants) -> anyhow::Result<()> {
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, i64>(0));
    let links = count("SELECT count(*) FROM job_links")?;
    if links == 0 {
        return Ok(());
    }
    let stuck = count(
        "SELECT count(*) FROM jobs WHERE state = 'blocked'
            AND NOT EXISTS (SELECT 1 FROM job_links WHERE job_seq = jobs.seq AND first_end IS NULL)",
    )?;
    ensure!(stuck == 0, "E8: {stuck} jobs are blocked by nothing");
    let unheard = count(
        "SELECT count(*) FROM job_links JOIN jobs ON jobs.seq = job_seq JOIN jobs AS firsts ON firsts.id = first
            WHERE jobs.state = 'blocked' AND first_end IS NOT
                CASE WHEN firsts.state IN ('completed', 'failed', 'cancelled') THEN firsts.state END",
    )?;
    ensure!(unheard == 0, "E8: {unheard} jobs are blocked by one that stands otherwise than they know");
    let early = count(
        "SELECT count(*) FROM job_links JOIN jobs ON seq = job_seq
            WHERE first_end IS NULL AND state IN ('dispatched', 'running', 'completed')",
    )?;
    ensure!(early == 0, "E8: {early} jobs began before one was over that they come after");
    found.hold("E8", format_args!("{links} links from jobs to those that they come after"));
    Ok(())
}

/// The state and version of every stored job, by id.
fn stored_ends(sql: &Connection) -> anyhow::Result<BTreeMap<String, (String, i64)>> {
    let mut jobs = sql.prepare("SELECT id, state, version FROM jobs")?;
    let ends = jobs
        .query_map([], |row| Ok((Uuid::from_bytes(row.get(0)?).to_string(), (row.get(1)?, row.get(2)?))))?;
    Ok(ends.collect::<Result<_, _>>()?)
}

/// Every job in the API's list, by id.
///
/// # Errors
///
/// When a page of it cannot be read.
pub async fn read_all(api: &Api) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut jobs = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = api.json(&format!("/v1/jobs?limit={PAGE_JOBS}{cursor}")).await?;
        for job in page["jobs"].as_array().context("a list has jobs")? {
            let id = job["id"].as_str().context("a job has an id")?;
            jobs.insert(id.to_owned(), job.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(jobs),
        }
    }
}
