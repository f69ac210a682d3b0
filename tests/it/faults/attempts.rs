//! Two long attempts, one of each kind: the order of one is with the broker, the other is held by its worker. No fault
//! of the broker or of the backend may charge either.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::{process::Process, stack::Stack};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How often the attempts report progress.
const STEP: Duration = Duration::from_millis(250);

/// How often a row is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The type of the attempts.
const TYPE: &str = "test.sleep";

/// The attempts, and the workers that run them.
pub(super) struct LongAttempts {
    delivered: String,
    held: String,
    workers: [Process; 2],
}

impl LongAttempts {
    /// Starts two workers of one slot, and an attempt on each that lasts so long.
    pub(super) async fn begin(stack: &mut Stack, lasting: Duration) -> anyhow::Result<Self> {
        stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "3600");
        let first = stack.worker(&[TYPE], 1).await?;
        let delivered = submit(stack, lasting).await?;
        stack.api.job_when(&delivered, |job| job["state"] == "running").await?;
        stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "1");
        let second = stack.worker(&[TYPE], 1).await?;
        let held = submit(stack, lasting).await?;
        let deadline = Instant::now() + e2e::process::PATIENCE;
        while attempts_held(stack)? == 0 {
            ensure!(Instant::now() < deadline, "nobody took the attempt over");
            sleep(LOOK_EVERY).await;
        }
        stack.worker_setting("CREWCALL_HOLD_AFTER_SECONDS", "60");
        Ok(Self { delivered, held, workers: [first, second] })
    }

    /// Sends a signal to both workers.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.workers.iter().try_for_each(|worker| worker.signal(signal))
    }

    /// Both still run as if nothing had happened: what they say now.
    pub(super) async fn are_running(&self, stack: &Stack) -> anyhow::Result<()> {
        for id in [&self.delivered, &self.held] {
            let job = stack.api.job(id).await?;
            ensure!(job["state"] == "running" && job["attempt"] == 1, "it is not running any more: {job}");
        }
        Ok(())
    }

    /// Waits until both are over, each at its first attempt.
    pub(super) async fn are_uncharged(&self, stack: &Stack) -> anyhow::Result<()> {
        for id in [&self.delivered, &self.held] {
            let job = stack.api.wait_for_end(id).await?;
            ensure!(job["state"] == "completed" && job["attempt"] == 1, "it was charged: {job}");
        }
        Ok(())
    }
}

async fn submit(stack: &mut Stack, lasting: Duration) -> anyhow::Result<String> {
    let steps = lasting.as_millis().div_ceil(STEP.as_millis());
    let steps = u64::try_from(steps).context("too long")?;
    let step_ms = u64::try_from(STEP.as_millis()).context("too long")?;
    stack.submit(TYPE, json!({"steps": steps, "step_ms": step_ms})).await
}

fn attempts_held(stack: &Stack) -> anyhow::Result<i64> {
    stack.query("SELECT count(*) FROM jobs WHERE claim_held")
}
