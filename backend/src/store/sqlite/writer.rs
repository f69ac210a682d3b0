//! The one thread that writes, and its group commit.
//!
//! Commands wait in a bounded queue. The thread takes all that are there, runs each in a savepoint of its
//! own inside one transaction, commits once, and then answers. One fsync serves everybody who came while the
//! last one ran; a lone caller waits for nobody. A command that fails is taken back alone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    checkpoint,
    open::Ownership,
    transaction_error::{Severity, TransactionError},
    write_context::WriteContext,
};
use crate::{engine::ports::StoreError, metrics::Metrics, mutant::mutant};

/// How many commands wait for the writer. Further callers wait for a place, so memory stays bounded and they feel
/// the load.
pub(crate) const COMMANDS_WAITING_MAX: usize = 1_024;

/// How many commands one commit takes. Beyond some 256 an fsync is shared by so many that more would only make
/// the first of them wait.
pub(crate) const COMMANDS_PER_COMMIT_MAX: usize = 256;

/// How many jobs and events one commit takes before it takes no further command: bounds how long a commit keeps
/// the others waiting when each command brings many.
pub(crate) const ROWS_PER_COMMIT_MAX: usize = 2_048;

/// How the writer is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Running,
    Closed,
    Failed(String),
}

/// The way to the writing thread.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    status: watch::Receiver<Status>,
}

enum Message {
    Write(Box<dyn Command>),
    Close,
}

/// Work for the writer, and who waits for it.
trait Command: Send {
    /// How many jobs or events it is about.
    fn rows(&self) -> usize;
    /// Does the work.
    fn execute(&mut self, context: &mut WriteContext) -> Result<(), TransactionError>;
    /// Tells the caller: the work is committed, or why it is not.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Request<T, W> {
    rows: usize,
    work: Option<W>,
    output: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W> Command for Request<T, W>
where
    T: Send,
    W: FnOnce(&mut WriteContext) -> Result<T, TransactionError> + Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn execute(&mut self, context: &mut WriteContext) -> Result<(), TransactionError> {
        if let Some(work) = self.work.take() {
            self.output = Some(work(context)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { output, caller, .. } = *self;
        // A caller that went away does not want to know.
        drop(caller.send(outcome.and_then(|()| output.ok_or(StoreError::Closed))));
    }
}

impl Writer {
    /// Starts the thread. It ends when it is closed, when nobody can send to it any more, or when it fails.
    pub(super) fn start(
        context: WriteContext,
        ownership: Ownership,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (queue, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (report, status) = watch::channel(Status::Running);
        thread::Builder::new().name("crewcall-store".to_owned()).spawn(move || {
            let mut thread = WriterThread { context, commands, metrics, trouble: None };
            // Commands are pure SQL and state machine: a panic is a program error, and what is in memory is not
            // trusted after it. The transaction goes with the connection.
            let end = catch_unwind(AssertUnwindSafe(|| thread.run()));
            drop(thread);
            drop(ownership);
            report.send_replace(match end {
                Ok(Ok(())) => Status::Closed,
                Ok(Err(failure)) => Status::Failed(failure),
                Err(_) => Status::Failed("the writing thread panicked".to_owned()),
            });
        })?;
        Ok(Self { queue, status })
    }

    /// Has `work` done in a transaction: when this returns `Ok`, it is on disk. `rows` tells how much it is.
    ///
    /// A caller that stops waiting does not stop the work.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl FnOnce(&mut WriteContext) -> Result<T, TransactionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (caller, answer) = oneshot::channel();
        let request = Request { rows, work: Some(work), output: None, caller };
        if self.queue.send(Message::Write(Box::new(request))).await.is_err() {
            return Err(self.why_ended().await);
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.why_ended().await),
        }
    }

    /// Lets the thread do what was sent before, and waits until it has ended.
    pub(super) async fn close(&self) {
        // A thread that has ended already takes nothing, which is as well.
        drop(self.queue.send(Message::Close).await);
        self.why_ended().await;
    }

    /// Resolves when the thread has failed; never, when it was closed.
    pub(super) fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut status = self.status.clone();
        async move {
            let failure = match status.wait_for(|status| matches!(status, Status::Failed(_))).await.as_deref()
            {
                Ok(Status::Failed(failure)) => Some(failure.clone()),
                _ => None,
            };
            match failure {
                Some(failure) => failure,
                None => std::future::pending().await,
            }
        }
    }

    async fn why_ended(&self) -> StoreError {
        let mut status = self.status.clone();
        match status.wait_for(|status| *status != Status::Running).await.as_deref() {
            Ok(Status::Failed(reason)) => StoreError::Failed { reason: reason.clone() },
            _ => StoreError::Closed,
        }
    }
}

struct WriterThread {
    context: WriteContext,
    commands: mpsc::Receiver<Message>,
    metrics: Arc<Metrics>,
    /// Why the last transaction was given up, if it was.
    trouble: Option<String>,
}

/// How far a batch got before it had to be given up.
struct GivenUp {
    error: TransactionError,
    /// Those who are told.
    answers: Vec<Box<dyn Command>>,
}

impl WriterThread {
    /// Works until it is told to stop. `Err` says why it cannot go on.
    fn run(&mut self) -> Result<(), String> {
        loop {
            let (batch, stop) = self.next_batch();
            if !batch.is_empty() {
                self.commit(batch)?;
                self.checkpoint()?;
            }
            if stop {
                return Ok(());
            }
        }
    }

    /// Keeps the log short. `Err` says why the store cannot go on: a page that could not be written to the file
    /// may be lost from memory too.
    fn checkpoint(&self) -> Result<(), String> {
        let begun = Instant::now();
        match checkpoint::after_commit(&self.context.connection) {
            Err(error) if error.severity() == Severity::Fatal => Err(error.to_string()),
            Err(error) => {
                tracing::warn!(reason = %error, "The store's log was not moved into the file; it is tried again.");
                Ok(())
            }
            Ok(true) => {
                self.metrics.store_checkpointed(begun.elapsed());
                Ok(())
            }
            Ok(false) => Ok(()),
        }
    }

    /// Waits for a command and takes those that wait behind it; and whether it was the last batch.
    fn next_batch(&mut self) -> (Vec<Box<dyn Command>>, bool) {
        let mut batch: Vec<Box<dyn Command>> = Vec::new();
        let mut rows = 0;
        let mut message = self.commands.blocking_recv();
        loop {
            match message {
                Some(Message::Write(command)) => {
                    rows += command.rows();
                    batch.push(command);
                }
                Some(Message::Close) | None => return (batch, true),
            }
            if batch.len() >= COMMANDS_PER_COMMIT_MAX || rows >= ROWS_PER_COMMIT_MAX {
                return (batch, false);
            }
            message = match self.commands.try_recv() {
                Ok(message) => Some(message),
                Err(mpsc::error::TryRecvError::Empty) => return (batch, false),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }

    fn commit(&mut self, batch: Vec<Box<dyn Command>>) -> Result<(), String> {
        let (size, begun) = (batch.len(), Instant::now());
        let rows_before = self.context.connection.total_changes();
        match self.transact(batch) {
            Ok(answers) => {
                if let Some(reason) = self.trouble.take() {
                    tracing::info!(reason, "The store works again.");
                }
                let rows = self.context.connection.total_changes().saturating_sub(rows_before);
                self.metrics.store_committed(size, rows, begun.elapsed());
                for (command, outcome) in answers {
                    command.answer(outcome);
                }
                Ok(())
            }
            Err(GivenUp { error, answers }) => {
                let (severity, text) = (error.severity(), error.to_string());
                self.metrics.store_commit_failed();
                // Callers try again, twice in a second: it is said once.
                if self.trouble.as_ref() != Some(&text) {
                    tracing::error!(reason = %text, commands = answers.len(), "A transaction of the store was given up.");
                    self.trouble = Some(text.clone());
                }
                let error = StoreError::from(error);
                for command in answers {
                    command.answer(Err(error.clone()));
                }
                if severity == Severity::Fatal { Err(text) } else { Ok(()) }
            }
        }
    }

    /// Runs a batch in one transaction. Every command is in the answer, whichever it is.
    fn transact(&mut self, batch: Vec<Box<dyn Command>>) -> Result<Vec<Answered>, GivenUp> {
        if let Err(error) = self.context.execute("BEGIN IMMEDIATE", ()) {
            return Err(GivenUp { error, answers: batch });
        }
        let start = self.context.rules.savepoint();
        let mut answered: Vec<Answered> = Vec::with_capacity(batch.len());
        let mut remaining = batch.into_iter();
        let ended = loop {
            let Some(mut command) = remaining.next() else { break self.end_transaction() };
            match self.run_alone(command.as_mut()) {
                Ok(outcome) if mutant("answer_early") => command.answer(outcome.map_err(StoreError::from)),
                Ok(outcome) => answered.push((command, outcome.map_err(StoreError::from))),
                Err(error) => {
                    answered.push((command, Ok(())));
                    break Err(error);
                }
            }
        };
        match ended {
            Ok(()) => Ok(answered),
            Err(error) => {
                self.roll_back();
                self.context.rules.roll_back_to(start);
                let answers = answered.into_iter().map(|(command, _)| command).chain(remaining).collect();
                Err(GivenUp { error, answers })
            }
        }
    }

    /// Runs one command in a savepoint. The outer error is one that ends the transaction.
    fn run_alone(
        &mut self,
        command: &mut dyn Command,
    ) -> Result<Result<(), TransactionError>, TransactionError> {
        self.context.execute("SAVEPOINT command", ())?;
        let savepoint = self.context.rules.savepoint();
        let outcome = command.execute(&mut self.context);
        if let Err(error) = outcome {
            // Some errors make SQLite take back the whole transaction, the work of others with it.
            if error.severity() == Severity::Fatal || self.context.connection.is_autocommit() {
                return Err(error);
            }
            tracing::warn!(reason = %error, "A command of the store failed and was taken back.");
            self.context.execute("ROLLBACK TO command", ())?;
            self.context.execute("RELEASE command", ())?;
            self.context.rules.roll_back_to(savepoint);
            return Ok(Err(error));
        }
        self.context.execute("RELEASE command", ())?;
        Ok(Ok(()))
    }

    fn end_transaction(&mut self) -> Result<(), TransactionError> {
        self.context.finish()?;
        self.context.execute("COMMIT", ())?;
        self.context.committed();
        Ok(())
    }

    fn roll_back(&self) {
        if self.context.connection.is_autocommit() {
            return;
        }
        if let Err(error) = self.context.execute("ROLLBACK", ()) {
            // The next BEGIN will fail and say so.
            tracing::error!(reason = %error, "A transaction could not be taken back.");
        }
    }
}

type Answered = (Box<dyn Command>, Result<(), StoreError>);

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
