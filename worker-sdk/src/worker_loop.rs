//! The loop of a running worker: every input becomes one [`Event`], and one place decides.

mod receive;

mod bundle;

mod discovery;

pub(crate) mod hand_back;

mod subscribe;

mod fetch;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    ops::ControlFlow,
    sync::Arc,
};

use crewcall_amqp::{ConsumerEvent, Delivery, LinkConfig, LinkState, Publisher, PublisherOptions};
use crewcall_proto::{
    JobType, MessageKind,
    discovery::{Announcement, HEARTBEAT_INTERVAL},
};
use crewcall_traces::Traces;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    announce,
    answers::Answers,
    attempt::AttemptEnd,
    checked_worker::CheckedWorker,
    clock,
    door::Door,
    endpoints::{self, Shown},
    event_publisher::EventPublisher,
    execution::Handlers,
    handler_runtime::{self, RuntimeState},
    health::LoopState,
    in_flight_orders::InFlightOrders,
    limits::SHUTDOWN_TIMEOUT,
    metrics::WorkerMetrics,
    order_delivery::OrderDelivery,
    order_key::OrderKey,
    prefetch_control::PrefetchControl,
    response_publisher::ResponsePublisher,
    rest::Rests,
    session::{Session, SessionSetup},
    shutdown::Shutdown,
    traces,
    worker_error::WorkerError,
};

/// Everything that a running worker reacts to.
enum Event {
    /// The link came up, went down, or brought a message.
    Link(ConsumerEvent),
    /// The subscriptions are as they were wanted.
    Subscribed,
    /// An attempt ended.
    AttemptEnded(AttemptEnd),
    /// The backend knows that an attempt is held here.
    Held(OrderKey),
    /// The handler of an attempt is done, and the attempt needs its slot no more.
    SlotLeft,
    /// A handler that had not ended with its attempt has ended.
    HandlerEnded,
    /// A subscription that was changing may go on, or every slot has been taken for long.
    PrefetchDue,
    /// Orders that were asked for; fewer than there was room for when there are no more.
    Fetched(Vec<Delivery>),
    /// It is time for a heartbeat.
    HeartbeatDue,
    /// The state of the publishing link changed.
    Publisher,
    /// News of the runtime of the handlers.
    HandlerRuntime(RuntimeState),
    /// A part that runs for as long as the worker does has ended.
    Broken(&'static str),
    /// It is time to ask whether orders that came back are wanted.
    AskDue,
    /// An order has asked for long enough, or waited for a slot, or a type has rested.
    WaitOver,
    /// The first request to leave.
    DrainRequested,
    /// The second request to leave, or the end of the grace period.
    HandBackRequested,
}

/// A running worker.
pub(crate) struct WorkerLoop {
    worker: CheckedWorker,
    announcement: Announcement,
    responses: Arc<ResponsePublisher>,
    /// Publishes the answers to orders that came in bundles.
    answers: Arc<Answers>,
    session: Session,
    publisher_state: watch::Receiver<LinkState>,
    /// The session that is up; `None` while there is none.
    generation: Option<u64>,
    /// Whether anything was said to discovery yet.
    announced: bool,
    /// Whether the announcement is to be repeated, because the backend has not answered it.
    awaits_welcome: bool,
    /// The types whose queues exist, as this session's `welcome` said.
    welcomed: BTreeSet<JobType>,
    /// How many orders of each of them may come in.
    prefetch_controls: BTreeMap<JobType, PrefetchControl>,
    /// Whether any are consumed.
    door: Door,
    /// The fetch that is under way, if one is.
    fetches: JoinSet<Vec<Delivery>>,
    /// How many orders were fetched, to begin with another type each time.
    fetched: usize,
    /// Whether an operator drained this worker: it takes no more orders until one resumes it.
    drained_by_operator: bool,
    /// Publishes what handlers emit while they run.
    events: Arc<EventPublisher>,
    /// How many messages could not be read.
    malformed: u64,
    /// Set once the worker is on its way out.
    shutting_down: Option<ShuttingDown>,
    orders: InFlightOrders<OrderDelivery<Delivery>>,
    /// When to ask whether orders that came back are wanted.
    ask_at: Option<Instant>,
    /// The types whose handlers gave their orders back.
    rests: Rests,
    attempts: JoinSet<AttemptEnd>,
    held: mpsc::Receiver<OrderKey>,
    /// Kept, so that the receiver never ends.
    held_sender: mpsc::Sender<OrderKey>,
    /// Wait for the handlers that did not end with their attempts.
    unfinished_handlers: JoinSet<()>,
    heartbeat: Interval,
    handlers: Handlers,
    handler_runtime: mpsc::Receiver<RuntimeState>,
    /// When the log last said that the handlers block their runtime.
    blocked_said_at: Option<Instant>,
    metrics: Arc<WorkerMetrics>,
    /// Where the spans of attempts go.
    traces: Traces,
    /// How the loop is, for whoever asks over HTTP.
    state: watch::Sender<LoopState>,
    /// Handlers, acknowledgements and messages under way.
    tasks: TaskTracker,
    /// The two connections.
    links: TaskTracker,
    stop_links: CancellationToken,
}

/// How a worker ended.
pub(crate) struct WorkerExit {
    pub(crate) ending: Result<(), WorkerError>,
    /// Whether handlers may still be running that nothing can end.
    pub(crate) handlers_unfinished: bool,
}

struct ShuttingDown {
    /// When what still runs is handed back.
    hand_back_at: Instant,
    ending: Result<(), WorkerError>,
}

impl WorkerLoop {
    /// Starts the links on this runtime, which no handler can block; nothing waits for them.
    pub(crate) fn start(worker: CheckedWorker, handlers: Handlers) -> Self {
        let (stop_links, links) = (CancellationToken::new(), TaskTracker::new());
        let settings = &worker.settings;
        let config = |purpose: &str| {
            LinkConfig::new(&settings.amqp_url, format!("{} {} {purpose}", worker.name, settings.worker_id))
        };
        // Each attempt has at most one message under way, and a few more are of the worker itself.
        let unconfirmed_max = usize::try_from(worker.slots).unwrap_or(usize::MAX).saturating_mul(2) + 64;
        let options = PublisherOptions { unconfirmed_max, ..PublisherOptions::default() };
        let responses = Arc::new(ResponsePublisher {
            // The worker declares nothing but its own queue: the exchanges are the backend's.
            publisher: Publisher::start(config("publisher"), Vec::new(), options, &stop_links, &links),
            topology: settings.topology.clone(),
            content_type: settings.content_type,
            worker_id: settings.worker_id.clone(),
            name: worker.name.clone(),
        });
        let mut session_config = config("consumer");
        // A link on which orders come in harms none of them when it is silent for a while, and its end counts as a
        // delivery that failed.
        session_config.suspect_timeout = session_config.operation_timeout;
        let setup = SessionSetup {
            config: session_config,
            topology: settings.topology.clone(),
            worker_id: settings.worker_id.clone(),
            types: worker.types.iter().map(|served| served.job_type().clone()).collect(),
        };
        // Each attempt is held once at most.
        let (held_sender, held) = mpsc::channel(usize::try_from(worker.slots).unwrap_or(1).max(1));
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Two, so that it never waits for us while it has something to say.
        let (runtime_sender, handler_runtime) = mpsc::channel(2);
        let metrics = Arc::new(WorkerMetrics::new(&worker));
        let watch = handler_runtime::watch(handlers.runtime.clone(), runtime_sender, Arc::clone(&metrics));
        links.spawn(stop_links.clone().run_until_cancelled_owned(watch));
        Self {
            announcement: announce::announcement(&worker, clock::now()),
            publisher_state: responses.publisher.state(),
            answers: Arc::new(Answers::new(Arc::clone(&responses), handlers.tracker.clone())),
            events: EventPublisher::start(&responses, &metrics, &handlers.tracker),
            responses,
            session: Session::start(setup, &stop_links, &links),
            generation: None,
            announced: false,
            awaits_welcome: false,
            welcomed: BTreeSet::new(),
            prefetch_controls: BTreeMap::new(),
            door: Door::default(),
            fetches: JoinSet::new(),
            fetched: 0,
            drained_by_operator: false,
            malformed: 0,
            shutting_down: None,
            orders: InFlightOrders::new(worker.slots),
            ask_at: None,
            rests: Rests::default(),
            attempts: JoinSet::new(),
            held,
            held_sender,
            unfinished_handlers: JoinSet::new(),
            heartbeat,
            tasks: handlers.tracker.clone(),
            handlers,
            handler_runtime,
            blocked_said_at: None,
            metrics,
            traces: traces::open(&worker),
            state: watch::Sender::new(LoopState::new()),
            links,
            stop_links,
            worker,
        }
    }

    /// Shows the worker over HTTP at an address that was taken for it.
    pub(crate) fn shown_at(self, listener: Option<TcpListener>) -> Self {
        if let Some(listener) = listener {
            let shown = Shown {
                metrics: Arc::clone(&self.metrics),
                state: self.state.subscribe(),
                consumer: self.session.consumer(),
                publisher: self.responses.publisher.clone(),
            };
            let endpoints = endpoints::serve(listener, shown);
            self.links.spawn(self.stop_links.clone().run_until_cancelled_owned(endpoints));
        }
        self
    }

    /// Serves until it is told to leave and has finished, or handed back, what it had.
    pub(crate) async fn serve(mut self, shutdown: &Shutdown) -> WorkerExit {
        self.log_start();
        let ending = loop {
            let event = self.next_event(shutdown).await;
            if let ControlFlow::Break(ending) = self.handle(event) {
                break ending;
            }
        };
        let handlers_unfinished =
            self.orders.unfinished_handlers() > 0 || (ending.is_err() && self.orders.slots_busy() > 0);
        self.shut_down(&ending).await;
        WorkerExit { ending, handlers_unfinished }
    }

    async fn next_event(&mut self, shutdown: &Shutdown) -> Event {
        let hand_back_at = self.shutting_down.as_ref().map(|shutting_down| shutting_down.hand_back_at);
        let grace_over = at(hand_back_at);
        let prefetches_due =
            self.prefetch_controls.values().filter_map(|prefetch_control| prefetch_control.due_at());
        let prefetch_due = at(prefetches_due.chain(self.door.due_at()).min());
        let now = Instant::now();
        let waits = [self.orders.ask_ends_at(now), self.orders.patience_ends_at(now), self.rests.due_at(now)];
        let wait_over = at(waits.into_iter().flatten().min());
        let ask_due = at(self.ask_at);
        tokio::select! {
            () = shutdown.hand_back.cancelled() => Event::HandBackRequested,
            () = grace_over => Event::HandBackRequested,
            () = shutdown.drain.cancelled(), if hand_back_at.is_none() => Event::DrainRequested,
            Some(ended) = self.attempts.join_next() => {
                Event::AttemptEnded(ended.expect("an attempt's task catches its panics and is never aborted here"))
            }
            Some(key) = self.held.recv() => Event::Held(key),
            () = self.answers.slot_left() => Event::SlotLeft,
            Some(_) = self.unfinished_handlers.join_next() => Event::HandlerEnded,
            () = prefetch_due => Event::PrefetchDue,
            // One that broke off brought nothing.
            Some(fetched) = self.fetches.join_next() => Event::Fetched(fetched.unwrap_or_default()),
            () = ask_due => Event::AskDue,
            () = wait_over => Event::WaitOver,
            _ = self.heartbeat.tick() => Event::HeartbeatDue,
            Some(handler_runtime) = self.handler_runtime.recv() => match handler_runtime {
                RuntimeState::ShutDown => Event::Broken("the runtime of its handlers was shut down"),
                handler_runtime => Event::HandlerRuntime(handler_runtime),
            },
            applied = self.session.applied.changed() => {
                applied.map_or(Event::Broken("its subscriptions are kept by nobody"), |()| Event::Subscribed)
            }
            changed = self.publisher_state.changed() => {
                changed.map_or(Event::Broken("its link for publishing is gone"), |()| Event::Publisher)
            }
            event = self.session.events.recv() => {
                event.map_or(Event::Broken("its link for consuming is gone"), Event::Link)
            }
        }
    }

    fn handle(&mut self, event: Event) -> ControlFlow<Result<(), WorkerError>> {
        match event {
            Event::Link(ConsumerEvent::Up { generation }) => self.on_link_up(generation),
            Event::Link(ConsumerEvent::Down { .. }) => self.on_link_down(),
            Event::Link(ConsumerEvent::Delivery(delivery)) => self.on_delivery(delivery),
            // What follows from these is looked at after every event.
            Event::Subscribed | Event::PrefetchDue | Event::WaitOver | Event::SlotLeft => {}
            Event::Fetched(deliveries) => self.on_fetched(deliveries),
            Event::AttemptEnded(ended) => self.on_attempt_ended(ended),
            Event::Held(key) => self.on_held(&key),
            Event::HandlerEnded => self.orders.handler_ended(),
            Event::HeartbeatDue => self.on_heartbeat_due(),
            Event::Publisher => self.on_publisher_changed(),
            Event::HandlerRuntime(handler_runtime) => self.on_handler_runtime(handler_runtime),
            Event::Broken(part) => return ControlFlow::Break(Err(WorkerError::Broken(part.to_owned()))),
            Event::AskDue => {
                self.ask_at = None;
                self.send_heartbeat(); // it lists what asks
            }
            Event::DrainRequested => self.begin_shutdown(Ok(())),
            Event::HandBackRequested => return ControlFlow::Break(self.end_unfinished()),
        }
        // After every event, whatever it was, so that no event has to know what may follow from it. The order matters: what
        // waits here begins before the door judges whether every slot is taken; the door decides whether anything is
        // consumed at all, which the prefetches follow; and orders go back last, once the broker has been told that
        // no more are taken, or it would return them to this very worker and count each return as a failed delivery.
        self.orders.set_slots_left(self.answers.slots_left());
        self.begin_orders();
        self.follow_door();
        self.balance_subscriptions();
        self.give_back_if_drained();
        self.give_back_resting();
        self.give_back_impatient();
        self.note_state();
        match self.shutting_down.take_if(|_| self.orders.is_empty()) {
            Some(shutting_down) => ControlFlow::Break(shutting_down.ending),
            None => ControlFlow::Continue(()),
        }
    }

    fn on_link_up(&mut self, generation: u64) {
        self.session.count_session();
        self.generation = Some(generation);
        self.welcomed.clear();
        self.want_orders();
        self.announce();
    }

    fn on_link_down(&mut self) {
        self.session.forget_subscriptions();
        self.generation = None;
        self.fetches.abort_all();
        self.door = Door::default();
        self.prefetch_controls.clear();
        self.orders.forget_deliveries();
    }

    /// Whether new orders may begin.
    fn takes_orders(&self) -> bool {
        !self.drained_by_operator && self.shutting_down.is_none()
    }

    /// Begins to leave: takes no more orders, and lets what runs finish within the grace period.
    fn begin_shutdown(&mut self, ending: Result<(), WorkerError>) {
        match &mut self.shutting_down {
            // The first error is the reason.
            Some(shutting_down) if shutting_down.ending.is_ok() => shutting_down.ending = ending,
            Some(_) => {}
            None => {
                let grace = self.worker.settings.drain_grace;
                tracing::info!(
                    worker.id = %self.responses.worker_id,
                    orders = self.orders.unfinished(),
                    grace_seconds = grace.as_secs(),
                    "The worker drains: it takes no more orders, and ends when the running ones are finished."
                );
                self.shutting_down = Some(ShuttingDown { hand_back_at: Instant::now() + grace, ending });
            }
        }
    }

    /// The ending of a worker that cannot wait any longer.
    fn end_unfinished(&mut self) -> Result<(), WorkerError> {
        let orders = self.orders.unfinished();
        match self.shutting_down.take() {
            // The failure that made the worker leave says more than what it leaves behind.
            Some(ShuttingDown { ending: Err(error), .. }) => Err(error),
            _ if orders == 0 => Ok(()),
            _ => Err(WorkerError::HandedBack { orders }),
        }
    }

    /// Sends the last acknowledgements and the goodbye, and closes the links. Bounded in time.
    async fn shut_down(mut self, ending: &Result<(), WorkerError>) {
        let reason = match ending {
            Ok(()) => "drained",
            Err(WorkerError::HandedBack { .. }) => "handed_back",
            Err(_) => "failed",
        };
        let mut handed_back = Vec::new();
        // The order of what follows is what makes a restart cheap. Attempts end before they are handed back, so that
        // none of them runs twice at once; they are handed back before the session closes, while an acknowledgement
        // can still keep an order from a delivery that counts; and the goodbye comes last, because the backend frees
        // everything that the worker still holds when it reads it.
        if ending.is_err() {
            // Before the handlers are told, so that none of them reports that it was stopped: it will run again elsewhere.
            self.attempts.shutdown().await;
            self.orders.stop_all();
            handed_back = self.hand_back_running().await;
            // Closing returns every unacknowledged order to its queue at once.
            let _ = timeout(SHUTDOWN_TIMEOUT, self.session.close()).await;
        }
        self.tasks.close();
        let _ = timeout(SHUTDOWN_TIMEOUT, self.tasks.wait()).await;
        let goodbye = announce::goodbye(&self.responses.worker_id, reason, handed_back);
        if let Ok(goodbye) = self.responses.discovery(MessageKind::Goodbye, &goodbye) {
            let _ = timeout(SHUTDOWN_TIMEOUT, self.responses.publisher.publish(goodbye)).await;
        }
        self.stop_links.cancel();
        self.links.close();
        let _ = timeout(SHUTDOWN_TIMEOUT, self.links.wait()).await;
        self.traces.close().await;
        tracing::info!(worker.id = %self.responses.worker_id, reason, "The worker ended.");
    }

    fn log_start(&self) {
        self.worker.settings.log_remarks();
        for unavailable in &self.worker.unavailable {
            tracing::warn!(
                job.r#type = %unavailable.job_type,
                reason = unavailable.reason,
                "The type is not announced, because it cannot be served here."
            );
        }
        tracing::info!(
            worker.id = %self.responses.worker_id,
            worker.name = self.worker.name,
            slots = self.worker.slots,
            types = self.worker.types.iter().map(|served| served.job_type().as_str()).collect::<Vec<_>>().join(" "),
            "The worker starts."
        );
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
