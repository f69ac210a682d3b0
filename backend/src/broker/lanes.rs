//! The way that each type's orders take: together with all others while the type's queue confirms, and apart once it
//! does not.
//!
//! RabbitMQ stops reading a whole *connection* when one queue on it takes nothing any more, and a channel for as long as it
//! looks for the leader of a queue that has none. So no queue is ever given as much as would make it stop, and in each
//! session an order is first sent to it alone, on a channel and a connection where it can harm nobody. One that is stuck
//! is tried again in the same way, and one that stays stuck is to be replaced.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crewcall_amqp::{LinkError, LinkState, OutboundMessage, PublishError, Published, Publisher};
use crewcall_proto::JobType;
use dashmap::DashMap;
use tokio::{
    sync::{
        Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, Notify, OwnedSemaphorePermit, Semaphore, watch,
    },
    time::{Instant, sleep_until, timeout},
};

use crate::{mutant::mutant, tasks::Tasks};

/// How many orders of one type may be unconfirmed on the link that all types share. RabbitMQ's channel blocks, and soon
/// its connection, once more than 32 messages for one quorum queue are unanswered (`quorum_commands_soft_limit`). A
/// broker that takes 5 ms to confirm still takes 4 800 orders of a type in a second.
const UNCONFIRMED_PER_TYPE_MAX: usize = 24;

/// How long an order is waited for before anybody looks at the link: nearly all are confirmed within milliseconds.
const USUAL_MAX: Duration = Duration::from_secs(1);

/// How long the broker may leave an order unconfirmed after that while it answers other questions: then its queue is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How long a stuck queue is left alone before an order is sent to it once more. What it was
/// sent before may still be confirmed, and each trial may make an order come twice. No longer, because the guilty queue may
/// be another one, which holds up the shared channel: then this one works alone.
const TRIED_AFTER: Duration = Duration::from_secs(5);

/// How long a trial may take; then it is given up with its channel, and made again on a new one.
const TRIAL_MAX: Duration = Duration::from_secs(60);

/// How long a queue may be stuck before it is looked at whether it has a leader at all, and replaced by a new one of its name
/// if it has none: one that is merely slow, or whose leader moves to another node, confirms before that.
const REPLACED_AFTER: Duration = Duration::from_secs(30);

/// How long until that is tried again, if it could not be done or did not help: whoever is called has read the log then.
const REPLACED_EVERY: Duration = Duration::from_secs(60);

/// How long the broker may take to answer a question that costs it nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Makes the message of an order, as often as it has to be sent.
pub(super) type MakeOrder<'a> = dyn Fn() -> Result<OutboundMessage, PublishError> + Send + Sync + 'a;

/// The ways of all types.
pub(super) struct Lanes {
    /// The link that all types share.
    shared: Publisher,
    /// The link on which orders are sent alone.
    trials: Publisher,
    tasks: Tasks,
    by_type: DashMap<JobType, Arc<Lane>>,
    /// What goes to the queue of the unroutable: the orders of all types that have no queue of their own.
    unknown: Arc<Lane>,
    /// Counts the queues that took orders again.
    recovered: watch::Sender<u64>,
}

/// What [`Lanes`] are made of.
pub(super) struct LanesParts {
    /// The link that all types share.
    pub(super) shared: Publisher,
    /// The link on which orders are sent alone.
    pub(super) trials: Publisher,
    /// The queue of the unroutable.
    pub(super) unroutable: String,
    /// Where orders that are still open are waited for.
    pub(super) tasks: Tasks,
}

/// The way of the orders that go to one queue.
#[derive(Debug)]
struct Lane {
    queue: String,
    together: Arc<Semaphore>,
    apart: Semaphore,
    mode: watch::Sender<Mode>,
    /// The session of the shared link in which the queue has confirmed an order; none is 0.
    proven_in: AtomicU64,
    /// Whose order is the first of a session: the others wait, in their order.
    first: AsyncMutex<()>,
    replaced: Notify,
    replacement: Mutex<Replacement>,
}

/// What was done about a queue that is stuck.
#[derive(Debug, Default)]
struct Replacement {
    tried_at: Option<Instant>,
    /// Why it could not be done.
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// On the shared link.
    Together,
    /// Nothing is confirmed, since when.
    Stuck(Instant),
    /// It confirms again, but not yet all that is still open on the shared link.
    Apart,
}

impl Lanes {
    /// All types go together.
    pub(super) fn new(parts: LanesParts) -> Self {
        let LanesParts { shared, trials, unroutable, tasks } = parts;
        Self {
            shared,
            trials,
            tasks,
            by_type: DashMap::new(),
            unknown: Arc::new(Lane::new(unroutable)),
            recovered: watch::Sender::new(0),
        }
    }

    /// The type has this queue of its own.
    pub(super) fn has_queue(&self, job_type: &JobType, queue: &str) {
        if !self.by_type.contains_key(job_type) {
            self.by_type.entry(job_type.clone()).or_insert_with(|| Arc::new(Lane::new(queue.to_owned())));
        }
    }

    /// What is wrong with the queue that the type's orders go to, if it does not confirm.
    pub(super) fn queue_error(&self, job_type: &JobType) -> Option<String> {
        let lane = self.of(job_type);
        let Mode::Stuck(since) = *lane.mode.borrow() else { return None };
        let queue = &lane.queue;
        let seconds = (since.elapsed() + STUCK_AFTER).as_secs();
        let mut trouble = format!(
            "the queue {queue} does not confirm: the broker has not taken an order for it for {seconds} s, though it answers"
        );
        if let Some(failure) = &lane.replacement().failure {
            trouble.push_str(&format!(
                "; it could not be replaced ({failure}): `rabbitmqctl delete_queue {queue}` helps"
            ));
        }
        Some(trouble)
    }

    /// The types whose queues have been stuck for so long that they may have to be replaced.
    pub(super) fn to_replace(&self) -> Vec<JobType> {
        let due = self.by_type.iter().filter(|lane| lane.is_to_be_replaced());
        due.map(|lane| lane.key().clone()).collect()
    }

    /// The type's queue is a new one: the trial that waits for the old one is given up, and another one made at once.
    pub(super) fn replaced(&self, job_type: &JobType) {
        let lane = self.of(job_type);
        lane.tried_to_replace(None);
        let now = Instant::now();
        let at_once = Mode::Stuck(now.checked_sub(TRIED_AFTER).unwrap_or(now));
        // While there was no queue, its orders went to that of the unroutable, and may have been confirmed there: a type
        // that is stuck and has nothing under way would stay so.
        lane.mode.send_if_modified(|mode| {
            let is_stuck = matches!(mode, Mode::Stuck(_));
            if is_stuck {
                *mode = at_once;
            }
            is_stuck
        });
        lane.replaced.notify_waiters();
    }

    /// Whether a queue that is stuck answers all the same, asked where it harms nobody: then others are in its way.
    pub(super) async fn answers(&self, queue: &str) -> Result<bool, LinkError> {
        self.trials.queue_answers(queue).await
    }

    /// The type's queue is well: it is not looked at again at once.
    pub(super) fn is_well(&self, job_type: &JobType) {
        self.of(job_type).tried_to_replace(None);
    }

    /// The type's queue could not be replaced, and whoever looks is told what helps.
    pub(super) fn not_replaced(&self, job_type: &JobType, failure: String) {
        let lane = self.of(job_type);
        tracing::error!(
            job.r#type = %job_type, queue = lane.queue, failure,
            "A queue confirms nothing and could not be replaced: delete it with `rabbitmqctl delete_queue`, and it is declared anew."
        );
        lane.tried_to_replace(Some(failure));
    }

    /// Counts the queues that were stuck and took orders again.
    pub(super) fn recovered(&self) -> watch::Receiver<u64> {
        self.recovered.subscribe()
    }

    /// Publishes an order of the type and waits until it is confirmed. It is made when its turn has come: many may wait,
    /// and each would take its bytes.
    pub(super) async fn publish(
        &self,
        job_type: &JobType,
        make: &MakeOrder<'_>,
    ) -> Result<Published, PublishError> {
        let lane = self.of(job_type);
        let answer = match lane.place() {
            Some(place) => self.publish_together(&lane, make, place).await,
            None => self.publish_in_turn(&lane, make).await,
        };
        self.judge(&lane, answer.is_ok());
        answer
    }

    async fn publish_in_turn(&self, lane: &Lane, make: &MakeOrder<'_>) -> Result<Published, PublishError> {
        let mut mode = lane.mode.subscribe();
        loop {
            let now = *mode.borrow_and_update();
            if now == Mode::Together {
                tokio::select! {
                    biased;
                    Ok(place) = lane.together.clone().acquire_owned() => {
                        return self.publish_together(lane, make, place).await;
                    }
                    _ = mode.changed() => {}
                }
            } else if let Some(answer) = self.publish_apart(lane, make, Duration::ZERO).await {
                return answer;
            }
        }
    }

    /// Waits for the links' outstanding confirms, and closes them.
    pub(super) async fn close(&self) {
        tokio::join!(self.shared.close(), self.trials.close());
    }

    fn of(&self, job_type: &JobType) -> Arc<Lane> {
        self.by_type.get(job_type).map_or_else(|| Arc::clone(&self.unknown), |lane| Arc::clone(&lane))
    }

    async fn publish_together(
        &self,
        lane: &Lane,
        make: &MakeOrder<'_>,
        place: OwnedSemaphorePermit,
    ) -> Result<Published, PublishError> {
        let mut turn = None;
        if !lane.is_proven(self.shared.session()) {
            let first = lane.first.lock().await;
            if lane.is_stuck() {
                drop((first, place));
                return Box::pin(self.publish_in_turn(lane, make)).await;
            }
            if !lane.is_proven(self.shared.session()) {
                return self.publish_first(lane, make, first).await;
            }
            turn = Some(first); // those that waited leave in their order
        }
        let mut publication = self.shared.send(make()?).await?;
        drop(turn);
        if let Ok(answer) = timeout(USUAL_MAX, publication.answer()).await {
            return answer;
        }
        if let Some(answer) = self.answered_in_time(lane, &self.shared, publication.answer()).await {
            return answer;
        }
        lane.part();
        publication.release_place();
        tokio::select! {
            biased;
            answer = publication.answer() => answer,
            // What was sent may be confirmed with the others, so it gets a moment when they are.
            Some(answer) = self.publish_apart(lane, make, STUCK_AFTER) => {
                // On the shared link it is still open, and counts there until that is over.
                drop(self.tasks.errand("an order that is still open", async move {
                    let _ = publication.answer().await;
                    drop(place);
                }));
                answer
            }
        }
    }

    /// Publishes the first order of a session, alone: its queue may have no leader, and then the channel waits for one.
    async fn publish_first(
        &self,
        lane: &Lane,
        make: &MakeOrder<'_>,
        turn: AsyncMutexGuard<'_, ()>,
    ) -> Result<Published, PublishError> {
        let mut alone = pin!(self.trials.publish_alone(make()?, TRIAL_MAX));
        let answer = match self.answered_in_time(lane, &self.trials, alone.as_mut()).await {
            Some(answer) => answer,
            None => {
                lane.part();
                drop(turn);
                tokio::select! {
                    biased;
                    answer = alone => answer,
                    Some(answer) = self.publish_apart(lane, make, STUCK_AFTER) => answer,
                }
            }
        };
        if answer.is_ok() {
            lane.proven_in.store(self.shared.session().unwrap_or(0), Ordering::Relaxed);
        }
        answer
    }

    /// The broker's answer; `None` when the queue is stuck: the broker is there and reads from us, and still does not
    /// confirm.
    async fn answered_in_time(
        &self,
        lane: &Lane,
        link: &Publisher,
        answer: impl Future<Output = Result<Published, PublishError>>,
    ) -> Option<Result<Published, PublishError>> {
        let mut answer = pin!(answer);
        let mut link = link.state();
        link.borrow_and_update();
        let mut deadline = Instant::now() + STUCK_AFTER;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Some(answer),
                // Connected, blocked or lost: it had no fair chance before.
                Ok(()) = link.changed() => deadline = Instant::now() + STUCK_AFTER,
                () = sleep_until(deadline) => {
                    let connected = matches!(&*link.borrow(), LinkState::Connected { .. });
                    if connected && (lane.is_stuck() || self.broker_answers().await) {
                        return None;
                    }
                    deadline = Instant::now() + STUCK_AFTER;
                }
            }
        }
    }

    /// Whether the broker reads what the shared link sends.
    async fn broker_answers(&self) -> bool {
        matches!(timeout(ANSWER_MAX, self.shared.queue_depth(&self.unknown.queue)).await, Ok(Ok(_)))
    }

    /// Publishes alone: one order of a stuck queue at a time, and only after a rest; for a queue that confirms again, after
    /// `patience`. `None` when the type goes together with all others again.
    async fn publish_apart(
        &self,
        lane: &Lane,
        make: &MakeOrder<'_>,
        patience: Duration,
    ) -> Option<Result<Published, PublishError>> {
        let mut mode = lane.mode.subscribe();
        loop {
            let now = *mode.borrow_and_update();
            let (places, not_before) = match now {
                Mode::Together => return None,
                Mode::Stuck(since) => (UNCONFIRMED_PER_TYPE_MAX, since + TRIED_AFTER),
                Mode::Apart => (1, Instant::now() + patience),
            };
            let place = async {
                sleep_until(not_before).await;
                lane.apart.acquire_many(u32::try_from(places).unwrap_or(1)).await
            };
            tokio::select! {
                biased;
                _ = mode.changed() => {}
                _place = place => {
                    let answer = tokio::select! {
                        biased;
                        () = lane.replaced.notified() => continue,
                        answer = async { self.trials.publish_alone(make()?, TRIAL_MAX).await } => answer,
                    };
                    if matches!(answer, Err(PublishError::Unknown { .. })) {
                        lane.part();
                    }
                    return Some(answer);
                }
            }
        }
    }

    /// A queue that confirms is not stuck. It goes together with the others again when nothing is open from before.
    fn judge(&self, lane: &Lane, confirmed: bool) {
        if !confirmed || *lane.mode.borrow() == Mode::Together {
            return;
        }
        let settled = lane.together.available_permits() == UNCONFIRMED_PER_TYPE_MAX;
        let before = lane.mode.send_replace(if settled { Mode::Together } else { Mode::Apart });
        if matches!(before, Mode::Stuck(_)) {
            *lane.replacement() = Replacement::default();
            tracing::info!(queue = lane.queue, "A queue confirms again.");
            self.recovered.send_modify(|count| *count += 1);
        }
    }
}

impl Lane {
    fn new(queue: String) -> Self {
        Self {
            queue,
            together: Arc::new(Semaphore::new(UNCONFIRMED_PER_TYPE_MAX)),
            apart: Semaphore::new(UNCONFIRMED_PER_TYPE_MAX),
            mode: watch::Sender::new(Mode::Together),
            proven_in: AtomicU64::new(0),
            first: AsyncMutex::new(()),
            replaced: Notify::new(),
            replacement: Mutex::default(),
        }
    }

    /// Whether the queue has confirmed an order in this session of the shared link.
    fn is_proven(&self, session: Option<u64>) -> bool {
        session.is_some_and(|session| self.proven_in.load(Ordering::Relaxed) == session)
            || mutant("first_together")
    }

    fn is_to_be_replaced(&self) -> bool {
        let Mode::Stuck(since) = *self.mode.borrow() else { return false };
        let tried_at = self.replacement().tried_at;
        since.elapsed() >= REPLACED_AFTER && tried_at.is_none_or(|at| at.elapsed() >= REPLACED_EVERY)
    }

    fn tried_to_replace(&self, failure: Option<String>) {
        *self.replacement() = Replacement { tried_at: Some(Instant::now()), failure };
    }

    fn replacement(&self) -> MutexGuard<'_, Replacement> {
        self.replacement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on the shared link, if one is free and nobody waits for it.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        if *self.mode.borrow() != Mode::Together {
            return None;
        }
        Arc::clone(&self.together).try_acquire_owned().ok()
    }

    fn is_stuck(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Stuck(_))
    }

    fn part(&self) {
        let parted = self.mode.send_if_modified(|mode| {
            let parted = !matches!(mode, Mode::Stuck(_));
            if parted {
                *mode = Mode::Stuck(Instant::now());
            }
            parted
        });
        if parted {
            tracing::warn!(
                queue = self.queue,
                "A queue does not confirm what is sent to it: its type waits, and the others go on."
            );
        }
    }
}
