//! The broker goes away, freezes, takes nothing, or loses what it had.

mod outages;

mod alarms;

mod losses;

mod topology;

mod queues;

use std::time::Duration;

use anyhow::{Context, ensure};
use crewcall_dev_broker::DevBroker;
use e2e::{api::Api, broker, process::PATIENCE, routing::Routing, stack::Stack};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often a load submits a job.
const SUBMIT_EVERY: Duration = Duration::from_millis(20);

/// How often one does that has a minute for it.
const SUBMIT_SLOWLY_EVERY: Duration = Duration::from_millis(100);

/// How often a condition is looked at again that the API does not answer for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What an operator does to the virtual host of one test.
struct Operator<'a> {
    node: &'a DevBroker,
    vhost: String,
}

impl Operator<'_> {
    /// Runs a command of `rabbitmqctl` that knows virtual hosts.
    async fn ctl(&self, command: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let all: Vec<&str> = [command, "-p", &self.vhost].iter().chain(arguments).copied().collect();
        Ok(self.node.ctl(&all).await?)
    }

    /// The names of the queues whose name begins with `prefix`.
    async fn queues(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let listed = self.ctl("list_queues", &["name", "--no-table-headers"]).await?;
        let mut names: Vec<String> = listed
            .lines()
            .map(str::trim)
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    }

    /// For what `rabbitmqctl` has no commands of its own.
    fn routing(&self) -> Routing<'_> {
        Routing { node: self.node, vhost: &self.vhost }
    }
}

/// An installation on a virtual host of the shared node, and who operates that.
async fn operated(purpose: &str) -> anyhow::Result<(Stack, Operator<'static>)> {
    let vhost = broker::vhost(purpose).await?;
    let stack = Stack::start_on(vhost.url).await?;
    stack.api.ready().await?;
    Ok((stack, Operator { node: broker::shared_broker().await?, vhost: vhost.name }))
}

/// Somebody who submits echoes, one after the other, whatever happens.
struct Load {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<Submitted>>,
}

/// What a load had accepted.
#[derive(Default)]
struct Submitted {
    ids: Vec<String>,
    slowest: Duration,
}

impl Load {
    fn start(stack: &Stack) -> Self {
        Self::every(SUBMIT_EVERY, stack)
    }

    fn slow(stack: &Stack) -> Self {
        Self::every(SUBMIT_SLOWLY_EVERY, stack)
    }

    fn every(pause: Duration, stack: &Stack) -> Self {
        let (stop, api) = (CancellationToken::new(), stack.api.clone());
        let task = TaskTracker::new().spawn(submit_until(stop.clone(), api, pause));
        Self { stop, task }
    }

    /// Ends it. Every submission was answered with 201.
    async fn end(self, stack: &mut Stack) -> anyhow::Result<Submitted> {
        self.stop.cancel();
        let submitted = self.task.await??;
        submitted.ids.iter().for_each(|id| stack.remember_accepted(id.clone()));
        Ok(submitted)
    }
}

async fn submit_until(stop: CancellationToken, api: Api, pause: Duration) -> anyhow::Result<Submitted> {
    let mut submitted = Submitted::default();
    while !stop.is_cancelled() {
        let text = submitted.ids.len().to_string();
        let began = Instant::now();
        let id = api.submit(json!({"type": "test.echo", "parameters": {"text": text}})).await?;
        submitted.slowest = submitted.slowest.max(began.elapsed());
        submitted.ids.push(id);
        sleep(pause).await;
    }
    Ok(submitted)
}

impl Submitted {
    /// How it went, for the evidence of I2.
    fn accepted(&self) -> String {
        let Self { ids, slowest } = self;
        format!("all {} submissions were answered with 201, the slowest in {slowest:.1?}", ids.len())
    }

    /// Each is done, with the result that belongs to it, at its first attempt.
    async fn are_echoed(&self, api: &Api) -> anyhow::Result<()> {
        for (number, id) in self.ids.iter().enumerate() {
            let job = api.wait_for_end(id).await?;
            let right = job["state"] == "completed" && job["attempt"] == 1;
            ensure!(
                right && job["result"]["text"].as_str() == Some(&number.to_string()),
                "not done at once: {job}"
            );
        }
        Ok(())
    }
}

/// Waits until the backend says that it is not ready. Returns why, and after how long.
async fn not_ready(api: &Api) -> anyhow::Result<(String, Duration)> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (status, body) = api.get("/readyz").await?;
        if status.as_u16() == 503 {
            let answer: Value = serde_json::from_str(&body)?;
            let reason = answer["checks"]["broker"]["reason"].as_str().context("a reason")?;
            return Ok((reason.to_owned(), began.elapsed()));
        }
        sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("the backend says that all is well")
}

/// Waits until as many jobs of the type are in a state as wanted, or more.
async fn jobs_are(api: &Api, job_type: &str, state: &str, at_least: u64) -> anyhow::Result<()> {
    let enough = |answer: &Value| answer["jobs"][state].as_u64() >= Some(at_least);
    api.json_when(&format!("/v1/types/{job_type}"), enough).await.map(drop)
}

/// Waits until the sum of a metric is as wanted.
async fn metric_is(api: &Api, name: &str, wanted: impl Fn(f64) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = api.metric(name, "").await?;
        if wanted(value) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name} is {value}");
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until the broker has confirmed every order.
async fn all_confirmed(api: &Api) -> anyhow::Result<()> {
    metric_is(api, "crewcall_dispatch_unconfirmed", |unconfirmed| unconfirmed == 0.0).await
}

/// How many attempts were charged that were not the completing ones.
fn charged(stack: &Stack) -> anyhow::Result<i64> {
    stack.query("SELECT count(*) FROM attempts WHERE outcome <> 'completed'")
}

/// What the backend says of each order that it takes as lost.
const SENT_AGAIN: &str = "An order is in no queue and with no worker; it is sent again";

/// How many lines of the backend's log contain `words`.
fn logged(stack: &Stack, words: &str) -> usize {
    stack.backend.log().lines().filter(|line| line.contains(words)).count()
}
