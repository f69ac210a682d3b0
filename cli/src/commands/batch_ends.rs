//! Waiting until all jobs of a batch have ended.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, IsTerminal},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    signal,
    time::{Instant, timeout},
};

use crate::{
    api::{Job, JobError, JobState},
    arguments::ActorArguments,
    client::{
        Client, ClientError,
        follow::{Feed, FeedEvent},
        operations::JobAction,
    },
    commands::actions::actor,
    exit::{Exit, Failure},
    output::print_message,
    progress::{BACK, went_away},
    times,
};

/// How many jobs are asked for at once when changes were missed.
const ASKED_AT_ONCE: usize = 8;
/// Of how many jobs that did not end well the reason is told.
const REASONS_MAX: usize = 10;

/// The ends of jobs, from a moment on.
pub(super) struct Ends<'a> {
    client: &'a Client,
    feed: Feed<'a>,
    began: Instant,
    counts: BTreeMap<&'static str, usize>,
    reasons: Vec<String>,
}

impl<'a> Ends<'a> {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When the backend cannot be reached.
    pub(super) async fn listen(client: &'a Client) -> Result<Self, ClientError> {
        let terminal = ("state".to_owned(), "completed,failed,cancelled".to_owned());
        let mut feed = client.follow_all(&[terminal]);
        feed.open().await?;
        Ok(Self { client, feed, began: Instant::now(), counts: BTreeMap::new(), reasons: Vec::new() })
    }

    /// Waits until these have ended, and sums up how they did.
    ///
    /// # Errors
    ///
    /// When the time is up, somebody interrupts us, or the backend stays away.
    pub(super) async fn wait_for(
        &mut self,
        ids: Vec<String>,
        limit: Option<Duration>,
        cancel_on_interrupt: bool,
    ) -> Result<Exit, Failure> {
        let mut pending: HashSet<String> = ids.into_iter().collect();
        let bar = bar(pending.len());
        let ended = tokio::select! {
            ended = timeout(limit.unwrap_or(Duration::MAX), self.drain(&mut pending, &bar)) => ended.ok(),
            _ = signal::ctrl_c() => {
                bar.finish_and_clear();
                return Err(self.interrupted(&pending, cancel_on_interrupt).await);
            }
        };
        bar.finish_and_clear();
        self.sum_up();
        match ended {
            Some(ended) => ended?,
            None => {
                let message =
                    format!("{} jobs have not ended within the wait time; they go on", pending.len());
                return Err(Failure::Job { exit: Exit::TimedOut, message });
            }
        }
        Ok(match (self.counts.contains_key("failed"), self.counts.contains_key("cancelled")) {
            (true, _) => Exit::Failed,
            (false, true) => Exit::Cancelled,
            (false, false) => Exit::Done,
        })
    }

    async fn drain(&mut self, pending: &mut HashSet<String>, bar: &ProgressBar) -> Result<(), ClientError> {
        while !pending.is_empty() {
            match self.feed.next().await? {
                FeedEvent::Job(job) => self.note(&job, pending),
                FeedEvent::Reset => self.ask(pending).await?,
                FeedEvent::Lost(reason) => print_message(&went_away(&reason)),
                FeedEvent::Back => {
                    print_message(BACK);
                    self.ask(pending).await?;
                }
            }
            bar.set_position(bar.length().unwrap_or_default().saturating_sub(pending.len() as u64));
        }
        Ok(())
    }

    /// Asks for each: what happened meanwhile was not told.
    async fn ask(&mut self, pending: &mut HashSet<String>) -> Result<(), ClientError> {
        let client = self.client;
        let ids: Vec<_> = pending.iter().filter_map(|id| id.parse().ok()).collect();
        let mut answers = stream::iter(ids).map(|id| client.job(id)).buffer_unordered(ASKED_AT_ONCE);
        while let Some(job) = answers.next().await {
            self.note(&*job?, pending);
        }
        Ok(())
    }

    fn note(&mut self, job: &Job, pending: &mut HashSet<String>) {
        if !job.state.is_terminal() || !pending.remove(&job.id) {
            return;
        }
        *self.counts.entry(job.state.word()).or_default() += 1;
        if job.state == JobState::Failed && self.reasons.len() < REASONS_MAX {
            let error = job.error.as_ref().map(JobError::line).unwrap_or_default();
            self.reasons.push(format!("{} failed: {error}", job.id));
        }
    }

    /// `3 completed, 1 failed in 4.2s`
    fn sum_up(&self) {
        for reason in &self.reasons {
            print_message(reason);
        }
        let failed = self.counts.get("failed").copied().unwrap_or_default();
        if failed > self.reasons.len() {
            print_message("…");
        }
        let counts = ["completed", "failed", "cancelled"].iter();
        let counts = counts.filter_map(|word| Some(format!("{} {word}", self.counts.get(word)?)));
        let counts = counts.collect::<Vec<_>>().join(", ");
        if !counts.is_empty() {
            print_message(&format!("{counts} in {}", times::length(self.began.elapsed())));
        }
    }

    /// What becomes of the others after Ctrl-C.
    async fn interrupted(&self, pending: &HashSet<String>, cancel: bool) -> Failure {
        self.sum_up();
        if !cancel {
            return Failure::Interrupted(format!("{} jobs go on: crewcall jobs ls", pending.len()));
        }
        let by = ActorArguments { by: None, reason: Some("the wait was interrupted".to_owned()) };
        let action = JobAction::Cancel(actor(&by));
        let ids: Vec<_> = pending.iter().filter_map(|id| id.parse().ok()).collect();
        let asked = stream::iter(ids).map(|id| self.client.act(id, action)).buffer_unordered(ASKED_AT_ONCE);
        let done = asked.filter(|answer| std::future::ready(answer.is_ok())).count().await;
        Failure::Interrupted(format!("{done} jobs are cancelled, or will be as soon as their workers stop"))
    }
}

/// How many have ended, on a terminal.
fn bar(jobs: usize) -> ProgressBar {
    let target =
        if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style =
        ProgressStyle::with_template("{bar:30} {pos} of {len} jobs have ended").expect("a fixed template");
    ProgressBar::with_draw_target(Some(jobs as u64), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn each_job_of_the_batch_counts_once() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new("http://127.0.0.1:1".parse().unwrap());
        let feed = client.follow_all(&[]);
        let mut ends = Ends {
            client: &client,
            feed,
            began: Instant::now(),
            counts: BTreeMap::new(),
            reasons: Vec::new(),
        };
        let mut pending: HashSet<String> = ["1", "2", "3"].map(str::to_owned).into();
        for (id, state) in
            [("1", "completed"), ("1", "completed"), ("9", "failed"), ("2", "failed"), ("3", "running")]
        {
            let error = json!({"kind": "handler", "message": "no"});
            let job = json!({"id": id, "type": "t", "state": state, "error": error});
            ends.note(&serde_json::from_value(job).unwrap(), &mut pending);
        }
        assert_eq!(pending, ["3".to_owned()].into());
        assert_eq!(ends.counts, [("completed", 1), ("failed", 1)].into());
        assert_eq!(ends.reasons, ["2 failed: handler: no"]);
    }
}
