//! Staying with a run until it ends, and telling how it did.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    time::Duration,
};

use crewcall_proto::RunId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    api::{Document, Run, RunState},
    client::{
        Client, ClientError,
        follow::ABSENCE_MAX,
        workflows::{RunFeed, RunFeedEvent},
    },
    exit::{Exit, Failure},
    output::{print, print_message},
    progress::{BACK, went_away},
    tables::{step_line, step_remark},
    text::shorten,
    times,
};

/// How often the spinner turns: it shows that we are alive while a run waits.
const SPINNER_TICK: Duration = Duration::from_millis(120);
/// The longest line of a step, in characters.
const LINE_CHARACTERS_MAX: usize = 200;

/// The steps of a run as they go, on standard error: a line for each change, and on a terminal what goes on now below.
struct StepsDisplay {
    bar: Option<ProgressBar>,
    changes: Changes,
}

/// What was told of each step.
#[derive(Debug, Default)]
struct Changes {
    told: BTreeMap<String, String>,
}

impl Changes {
    /// The steps that are not as they were told last, a line for each. That a step has not begun is not worth one.
    fn lines(&mut self, run: &Run) -> Vec<String> {
        let mut lines = Vec::new();
        for step in run.steps().iter().filter(|step| step.state != "pending") {
            let line = shorten(&step_line(step), LINE_CHARACTERS_MAX);
            if self.told.get(&step.name) != Some(&line) {
                lines.push(line.clone());
                self.told.insert(step.name.clone(), line);
            }
        }
        lines
    }
}

impl StepsDisplay {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a fixed template");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
            bar.enable_steady_tick(SPINNER_TICK);
            bar
        });
        Self { bar, changes: Changes::default() }
    }

    fn show(&mut self, run: &Run) {
        let lines = self.changes.lines(run);
        match &self.bar {
            Some(bar) => {
                lines.iter().for_each(|line| bar.println(line));
                bar.set_message(now(run));
            }
            None => lines.iter().for_each(|line| print_message(line)),
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(shorten(text, LINE_CHARACTERS_MAX)),
            None => print_message(text),
        }
    }
}

/// Takes the bar away, so that whatever is printed next stands alone.
impl Drop for StepsDisplay {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `running, 2 of 5 steps are over: encode, paid`
fn now(run: &Run) -> String {
    let (over, total) = run.steps_over();
    let steps = run.steps();
    let open = steps.iter().filter(|step| !step.is_over() && step.state != "pending");
    let open: Vec<&str> = open.map(|step| step.name.as_str()).collect();
    let colon = if open.is_empty() { "" } else { ": " };
    let text = format!("{}, {over} of {total} steps are over{colon}{}", run.state.word(), open.join(", "));
    shorten(&text, LINE_CHARACTERS_MAX)
}

/// Shows the steps of a run until it ends.
///
/// # Errors
///
/// When the wait time is up or the backend fails us; the run goes on then.
pub(crate) async fn follow_to_end(
    client: &Client,
    run: &Document<Run>,
    wait: Option<Duration>,
) -> Result<Document<Run>, Failure> {
    let id: RunId = run.id.parse().map_err(|_| ClientError::Strange {
        url: run.id.clone(),
        reason: "the id of the new run is not an id".to_owned(),
    })?;
    // The wait time, when there is one, also bounds how long we look for an absent backend.
    let mut feed = client.follow_run(id, wait.is_none().then_some(ABSENCE_MAX));
    let mut display = StepsDisplay::new();
    display.show(run);
    let ended = timeout(wait.unwrap_or(Duration::MAX), until_over(&mut feed, &mut display)).await;
    drop(display);
    match ended {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(Failure::Job {
            exit: Exit::TimedOut,
            message: format!(
                "run {id} has not ended within {} s; it goes on: crewcall runs watch {id}",
                wait.unwrap_or_default().as_secs()
            ),
        }),
    }
}

async fn until_over(
    feed: &mut RunFeed<'_>,
    display: &mut StepsDisplay,
) -> Result<Document<Run>, ClientError> {
    loop {
        match feed.next().await? {
            RunFeedEvent::Run(run) => {
                display.show(&run);
                if run.state.is_terminal() {
                    return Ok(*run);
                }
            }
            RunFeedEvent::Lost(reason) => display.say(&went_away(&reason)),
            RunFeedEvent::Back => display.say(BACK),
        }
    }
}

/// Prints a line for every change of a step, on standard output, until the run ends.
///
/// # Errors
///
/// When the backend or standard output fails us, or the run did not end well.
pub(super) async fn watch(client: &Client, id: RunId) -> Result<Exit, Failure> {
    // Asked once in plain: a wrong id or an absent backend is an error at once, not a reason to wait.
    client.run(id).await?;
    let mut feed = client.follow_run(id, Some(ABSENCE_MAX));
    let mut changes = Changes::default();
    loop {
        match feed.next().await? {
            RunFeedEvent::Run(run) => {
                changes.lines(&run).iter().try_for_each(|line| print(line))?;
                if run.state.is_terminal() {
                    print(&format!("the run is {}", run.state.word()))?;
                    return conclude(&run);
                }
            }
            RunFeedEvent::Lost(reason) => print_message(&went_away(&reason)),
            RunFeedEvent::Back => print_message(BACK),
        }
    }
}

/// The exit code of a run that ended, or the sentence why it did not end well.
///
/// # Errors
///
/// [`Failure::Job`] for a failed or cancelled run.
pub(crate) fn conclude(run: &Run) -> Result<Exit, Failure> {
    let reason = run.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let steps = run.steps();
    let failed = steps.iter().filter(|step| step.state == "failed");
    let failed: String = failed.map(|step| format!("\n  {}: {}", step.name, step_remark(step))).collect();
    let (exit, word) = match run.state {
        RunState::Failed => (Exit::Failed, "failed"),
        RunState::Cancelled => (Exit::Cancelled, "was cancelled"),
        RunState::Queued
        | RunState::Running
        | RunState::Stopping
        | RunState::Compensating
        | RunState::Completed
        | RunState::Unknown => return Ok(Exit::Done),
    };
    Err(Failure::Job { exit, message: format!("run {} {word}{reason}{failed}", run.id) })
}

/// `completed in 3.2s  0192e4a0-…`: what stays on the terminal of a run that is done.
pub(crate) fn completed_line(run: &Run) -> String {
    let took = times::took(run.started_at.as_deref(), run.ended_at.as_deref(), Timestamp::now());
    format!("completed in {took}  {}", run.id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(state: &str, steps: &Value) -> Run {
        serde_json::from_value(json!({
            "id": "r", "workflow": "a", "state": state, "reason": "step \"encode\" failed", "steps": steps,
            "started_at": "2026-11-20T16:00:00.000Z", "ended_at": "2026-11-20T16:00:03.250Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_step_is_told_when_it_changed() {
        let mut changes = Changes::default();
        let mut lines = |state: &str, completed: u64| {
            let steps = json!([
                {"name": "probe", "state": "completed"},
                {"name": "encode", "state": state, "items": {"total": 3, "completed": completed}},
                {"name": "tell", "state": "pending", "waiting": "waits for step \"encode\""},
            ]);
            changes.lines(&run("running", &steps))
        };
        assert_eq!(lines("running", 1), ["probe completed", "encode running 1/3"]);
        assert_eq!(lines("running", 1), [""; 0]);
        assert_eq!(lines("completed", 3), ["encode completed 3/3"]);
    }

    #[test]
    fn how_a_run_ended_is_told_with_its_failures() {
        let steps = json!([
            {"name": "probe", "state": "completed"},
            {"name": "encode", "state": "failed", "reason": "its job failed, or was cancelled", "job": "j"},
        ]);
        let failed = conclude(&run("failed", &steps)).unwrap_err();
        assert_eq!(failed.exit(), Exit::Failed);
        let expected =
            "run r failed: step \"encode\" failed\n  encode: its job failed, or was cancelled; job j";
        assert_eq!(failed.to_string(), expected);
        assert_eq!(conclude(&run("cancelled", &json!([]))).unwrap_err().exit(), Exit::Cancelled);
        assert_eq!(conclude(&run("completed", &steps)).unwrap(), Exit::Done);
        assert_eq!(completed_line(&run("completed", &steps)), "completed in 3.2s  r");
        assert_eq!(now(&run("running", &steps)), "running, 2 of 2 steps are over");
    }
}
