//! How each fault is made, and healed.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use rusqlite::Connection;
use rustix::process::Signal;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    fault::{Death, DiskFault, Fault, Line, Target, Way},
    forger,
    installation::{DISK_USUAL, Installation, MEMORY_USUAL},
    newcomer,
    plan::Strike,
    routes,
    submission_log::SubmissionLog,
};
use crate::{failpoints::dies_at, process::Process, proxy::Mode, routing::Routing};

/// How often the connections of a line are reset.
const RESET_EVERY: Duration = Duration::from_millis(700);

/// How late a slow line delivers.
const SLOW_BY: Duration = Duration::from_millis(150);

/// More memory than this no node can run with.
const MEMORY_TOO_LITTLE: &str = "1MB";

/// More than any disk has: so many times the memory.
const DISK_TOO_MUCH: [&str; 2] = ["mem_relative", "100000"];

/// How often is looked whether a program died.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the store is waited for until it can be locked.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long a worker that was asked to end may finish what it runs, before it is asked to hand that back.
const DRAIN_PATIENCE: Duration = Duration::from_secs(4);

/// Within which time after its start a worker may not listen for signals yet, on a busy machine.
const DEAF_FOR: Duration = Duration::from_secs(5);

/// How a test worker ends that handed back what it had not finished.
const HANDED_BACK: i32 = 1;

/// For how long a fault lasts.
struct Lasting<'a> {
    time: Duration,
    healing: &'a CancellationToken,
}

impl Lasting<'_> {
    /// Waits until the fault is to be healed.
    async fn over(&self) {
        let _ = self.healing.run_until_cancelled(sleep(self.time)).await;
    }
}

/// Makes a fault, lets it last, at most until `healing`, and heals it.
///
/// # Errors
///
/// When it was not made, as when another fault is in its way or a program never came where it was to die; or not
/// healed. What is left of it then is healed with everything in the end.
pub(super) async fn strike(
    installation: &Installation,
    submissions: &SubmissionLog,
    strike: &Strike,
    healing: &CancellationToken,
) -> anyhow::Result<()> {
    let lasting = Lasting { time: strike.lasts, healing };
    if let Target::Line(Line::Worker(number)) = strike.fault.target() {
        installation.worker(number)?;
    }
    match strike.fault {
        Fault::BrokerStopped
        | Fault::BrokerKilled
        | Fault::BrokerWiped
        | Fault::BrokerFrozen
        | Fault::MemoryAlarm
        | Fault::DiskAlarm
        | Fault::ConnectionsClosed
        | Fault::QueuePurged(_)
        | Fault::QueueDeleted(_) => break_broker(installation, strike.fault, &lasting).await,
        Fault::BrokerKilledEarly => {
            newcomer::kill_broker_early(installation, submissions, lasting.over(), healing).await
        }
        Fault::ExchangeDeleted(_) | Fault::Unbound(_) => {
            remove_route(installation, strike.fault, &lasting).await
        }
        Fault::BackendKilled => kill_backend(installation, &lasting).await,
        Fault::BackendStopped => stop_backend(installation, &lasting).await,
        Fault::ClockJumped(seconds) => jump(installation, seconds, &lasting).await,
        Fault::DiskFails(disk) => fail_disk(installation, disk, &lasting).await,
        Fault::BackendDies(death) => let_backend_die(installation, death, &lasting).await,
        Fault::BackendFrozen => freeze(&installation.backend.lock().await.backend, &lasting).await,
        Fault::WorkerKilled(number) => kill_worker(installation, number, &lasting).await,
        Fault::WorkerStopped(number) => stop_worker(installation, number, &lasting).await,
        Fault::WorkerDoubled(number) => {
            installation.worker(number)?.lock().await.start_double()?;
            lasting.over().await;
            installation.worker(number)?.lock().await.double = None;
            Ok(())
        }
        Fault::WorkerDies(number, death) => let_worker_die(installation, number, death, &lasting).await,
        Fault::WorkerFrozen(number) => {
            freeze(&installation.worker(number)?.lock().await.process, &lasting).await
        }
        Fault::LineFrozen(line, way) => {
            let mode = match way {
                Way::Both => Mode::FreezeBoth,
                Way::ToServer => Mode::FreezeToServer,
                Way::ToClient => Mode::FreezeToClient,
            };
            change_line(installation, line, mode, &lasting).await;
            Ok(())
        }
        Fault::LineSlow(line) => {
            change_line(installation, line, Mode::Delay(SLOW_BY), &lasting).await;
            Ok(())
        }
        Fault::LineReset(line) => {
            reset_again_and_again(installation, line, &lasting).await;
            Ok(())
        }
        Fault::ResponsesRepeated => forger::repeat(&installation.amqp_url, lasting.over()).await,
        Fault::ResponsesForged => forger::forge(&installation.amqp_url, submissions, lasting.over()).await,
        Fault::StoreLocked => lock_store(installation, &lasting).await,
    }
}

async fn break_broker(
    installation: &Installation,
    fault: Fault,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut node = installation.node.lock().await;
    match fault {
        Fault::BrokerStopped => {
            node.ctl(&["stop_app"]).await?;
            lasting.over().await;
            node.ctl(&["start_app"]).await?;
        }
        Fault::BrokerKilled => {
            node.sync().await?;
            node.kill().await?;
            lasting.over().await;
            node.restart().await?;
        }
        Fault::BrokerWiped => {
            node.kill().await?;
            node.wipe()?;
            lasting.over().await;
            node.restart().await?;
        }
        Fault::BrokerFrozen => {
            node.suspend()?;
            lasting.over().await;
            node.resume()?;
        }
        Fault::MemoryAlarm => {
            node.ctl(&["set_vm_memory_high_watermark", "absolute", MEMORY_TOO_LITTLE]).await?;
            lasting.over().await;
            node.ctl(&["set_vm_memory_high_watermark", MEMORY_USUAL]).await?;
        }
        Fault::DiskAlarm => {
            node.ctl(&[&["set_disk_free_limit"], &DISK_TOO_MUCH[..]].concat()).await?;
            lasting.over().await;
            node.ctl(&["set_disk_free_limit", DISK_USUAL]).await?;
        }
        Fault::QueuePurged(queue) => {
            node.ctl(&["purge_queue", queue]).await?;
        }
        Fault::QueueDeleted(queue) => {
            node.ctl(&["delete_queue", queue]).await?;
        }
        _ => {
            node.ctl(&["close_all_connections", "chaos"]).await?;
        }
    }
    Ok(())
}

/// The backend makes again what is missing, and its workers what is theirs.
async fn remove_route(
    installation: &Installation,
    fault: Fault,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let node = installation.node.lock().await;
    let routing = Routing { node: &node, vhost: "/" };
    match fault {
        Fault::ExchangeDeleted(exchange) => routing.delete(&[exchange]).await?,
        Fault::Unbound(route) => routes::unbind(routing, route).await?,
        _ => {}
    }
    drop(node);
    lasting.over().await;
    Ok(())
}

/// A backend that is started meanwhile would take the wrong time for good, so none is.
async fn jump(installation: &Installation, seconds: i64, lasting: &Lasting<'_>) -> anyhow::Result<()> {
    let _backend = installation.backend.lock().await;
    installation.preload.clock_ahead_seconds(seconds)?;
    lasting.over().await;
    installation.preload.clock_ahead_seconds(0)
}

async fn kill_backend(installation: &Installation, lasting: &Lasting<'_>) -> anyhow::Result<()> {
    let mut stack = installation.backend.lock().await;
    stack.backend.kill().await?;
    lasting.over().await;
    installation.start_backend(&mut stack, "").await
}

/// As a service manager does that changes the program.
async fn stop_backend(installation: &Installation, lasting: &Lasting<'_>) -> anyhow::Result<()> {
    let mut stack = installation.backend.lock().await;
    stack.backend.signal(Signal::TERM)?;
    let status = stack.backend.wait().await?;
    if !status.success() {
        installation.log.trouble(format!("the backend was asked to end, and ended with {status}"));
    }
    lasting.over().await;
    installation.start_backend(&mut stack, "").await
}

async fn let_backend_die(
    installation: &Installation,
    death: Death,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut stack = installation.backend.lock().await;
    stack.backend.kill().await?;
    installation.start_backend(&mut stack, &dies_at(death.point, death.passes)).await?;
    let died = dead(&mut stack.backend, lasting).await?;
    stack.backend.kill().await?;
    installation.start_backend(&mut stack, "").await?;
    anyhow::ensure!(died, "it never came there");
    Ok(())
}

/// A disk that fails ends the backend; one that is full does not.
async fn fail_disk(
    installation: &Installation,
    disk: DiskFault,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut stack = installation.backend.lock().await;
    match disk {
        DiskFault::Write => installation.preload.writes_fail(true)?,
        DiskFault::Sync => installation.preload.fsync_fails(true)?,
        DiskFault::Room => installation.preload.disk_full(true)?,
    }
    let died = dead(&mut stack.backend, lasting).await;
    installation.honest()?;
    match (disk, died?) {
        (DiskFault::Room, false) => return Ok(()),
        (DiskFault::Room, true) => installation.log.trouble("a full disk ended the backend".to_owned()),
        (DiskFault::Write | DiskFault::Sync, died) => {
            stack.backend.kill().await?; // it may be about to end
            installation.start_backend(&mut stack, "").await?;
            anyhow::ensure!(died, "it wrote nothing");
            return Ok(());
        }
    }
    installation.start_backend(&mut stack, "").await
}

async fn kill_worker(
    installation: &Installation,
    number: usize,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut worker = installation.worker(number)?.lock().await;
    worker.process.kill().await?;
    lasting.over().await;
    worker.start("")
}

async fn let_worker_die(
    installation: &Installation,
    number: usize,
    death: Death,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut worker = installation.worker(number)?.lock().await;
    worker.process.kill().await?;
    worker.start(&dies_at(death.point, death.passes))?;
    let died = dead(&mut worker.process, lasting).await?;
    worker.process.kill().await?;
    worker.start("")?;
    anyhow::ensure!(died, "it never came there");
    Ok(())
}

/// As a service manager does that changes the program, and does not wait for long.
async fn stop_worker(
    installation: &Installation,
    number: usize,
    lasting: &Lasting<'_>,
) -> anyhow::Result<()> {
    let mut worker = installation.worker(number)?.lock().await;
    let is_deaf = worker.started_at.elapsed() < DEAF_FOR;
    worker.process.signal(Signal::TERM)?;
    let drained = timeout(DRAIN_PATIENCE, worker.process.wait()).await;
    let ended = match drained {
        Ok(ended) => ended,
        Err(_) => {
            worker.process.signal(Signal::TERM)?;
            worker.process.wait().await
        }
    };
    let trouble = match ended {
        Ok(status) if status.success() || status.code() == Some(HANDED_BACK) => None,
        Ok(status) if is_deaf && status.signal() == Some(Signal::TERM.as_raw()) => None,
        Ok(status) => Some(format!("worker {number} was asked to end, and ended with {status}")),
        Err(error) => Some(format!("worker {number} was asked to end, and does not: {error:#}")),
    };
    if let Some(trouble) = trouble {
        installation.log.trouble(trouble);
        worker.process.kill().await?;
    }
    lasting.over().await;
    worker.start("")
}

/// Whether the program ends before its time is over.
async fn dead(process: &mut Process, lasting: &Lasting<'_>) -> anyhow::Result<bool> {
    let mut looks = interval(LOOK_EVERY);
    let mut over = std::pin::pin!(lasting.over());
    loop {
        tokio::select! {
            () = &mut over => return Ok(process.try_wait()?.is_some()),
            _ = looks.tick() => {
                if process.try_wait()?.is_some() {
                    return Ok(true);
                }
            }
        }
    }
}

async fn freeze(process: &Process, lasting: &Lasting<'_>) -> anyhow::Result<()> {
    process.signal(Signal::STOP)?;
    lasting.over().await;
    process.signal(Signal::CONT)
}

async fn change_line(installation: &Installation, line: Line, mode: Mode, lasting: &Lasting<'_>) {
    installation.line(line).set(mode);
    lasting.over().await;
    installation.line(line).set(Mode::Pass);
}

async fn reset_again_and_again(installation: &Installation, line: Line, lasting: &Lasting<'_>) {
    let mut resets = interval(RESET_EVERY);
    let mut over = std::pin::pin!(lasting.over());
    loop {
        tokio::select! {
            () = &mut over => return,
            _ = resets.tick() => installation.line(line).reset_all(),
        }
    }
}

async fn lock_store(installation: &Installation, lasting: &Lasting<'_>) -> anyhow::Result<()> {
    let other = Connection::open(&installation.database)?;
    other.busy_timeout(LOCK_PATIENCE)?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    lasting.over().await;
    Ok(other.execute_batch("ROLLBACK")?)
}
