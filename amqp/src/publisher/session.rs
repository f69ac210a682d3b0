//! The publisher's task: one session after the other.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, try_join_all},
    stream::FuturesUnordered,
};
use lapin::{
    Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, timeout},
};

use super::{
    Published, Request,
    declaration_cache::DeclarationCache,
    prepared_message::PreparedMessage,
    returns::{Confirm, ReturnLedger, Returned, Verdict},
    window::Place,
};
use crate::{
    Declaration, LinkError, PublishError,
    error::{ChannelFault, Reason},
    failpoints::Failpoint,
    mutant::{die_at, mutant},
    supervisor::Supervisor,
    transport::{Activity, Transport, TransportEvent},
    upkeep::{self, declare_each},
};

/// How often the oldest unconfirmed message is looked at.
const CONFIRM_CHECK_EVERY: Duration = Duration::from_millis(250);

/// How many waiting messages are handed to the client library in one go, before confirms are looked at again.
const REQUESTS_PER_TURN: usize = 256;

/// On how many channels what was declared before is declared again: each waits for one answer after the other.
const CHANNELS_TO_DECLARE: usize = 32;

/// The publisher's task and what it owns.
pub(super) struct Link {
    pub(super) supervisor: Supervisor,
    pub(super) declarations: Vec<Declaration>,
    pub(super) declared: Arc<DeclarationCache>,
    pub(super) suspicion: Arc<Notify>,
    pub(super) confirm_timeout: Duration,
    pub(super) live: watch::Sender<Option<Arc<lapin::Connection>>>,
    pub(super) inbox: mpsc::Receiver<Request>,
}

/// How a session came to its end.
enum SessionEnd {
    Lost(Reason),
    Stopped,
}

impl Link {
    pub(super) async fn run(mut self) {
        while let Some(mut transport) = self.supervisor.connect().await {
            let channel = match self.prepare(&mut transport).await {
                Ok(channel) => channel,
                Err(error) => {
                    self.supervisor.on_failed(error);
                    continue;
                }
            };
            self.supervisor.on_connected();
            self.live.send_replace(Some(transport.connection()));
            let mut session = Session::new(channel, transport.activity());
            let end = self.drive(&mut session, transport).await;
            self.live.send_replace(None);
            match end {
                SessionEnd::Lost(reason) => {
                    session.abandon(&reason);
                    self.supervisor.on_failed(LinkError::SessionLost(reason));
                }
                SessionEnd::Stopped => {
                    session.abandon(&Reason::new("the publisher was stopped"));
                    break;
                }
            }
        }
        self.inbox.close();
        while let Some(request) = self.inbox.recv().await {
            answer(request.answer, Err(PublishError::Stopped));
        }
        self.supervisor.on_stopped();
    }

    /// Declares everything and opens the channel for publishing.
    async fn prepare(&self, transport: &mut Transport) -> Result<Channel, LinkError> {
        let limit = self.supervisor.config().operation_timeout;
        let timed_out = |what: &str| LinkError::Timeout { what: what.to_owned(), after: limit };
        let channel = transport.open_channel().await?;
        for declaration in &self.declarations {
            timeout(limit, declaration.execute(&channel))
                .await
                .unwrap_or_else(|_| Err(timed_out(&declaration.to_string())))?;
        }
        let connection = transport.connection();
        self.declare_again(&connection, limit).await?;
        let options = ConfirmSelectOptions {
            nowait: false, // no message may be sent before confirms are on
        };
        timeout(limit, channel.confirm_select(options))
            .await
            .map_err(|_| timed_out("turn confirms on"))?
            .map_err(|error| LinkError::from_client("turning confirms on", &error))?;
        Ok(channel)
    }

    /// Repeats what was declared during earlier sessions, on several channels at once: there may be thousands. Bindings
    /// come last, when what they bind is there.
    async fn declare_again(&self, connection: &lapin::Connection, limit: Duration) -> Result<(), LinkError> {
        let is_binding = |declaration: &Declaration| matches!(declaration, Declaration::Binding { .. });
        if mutant("declared_once") {
            return Ok(());
        }
        let (bindings, others): (Vec<_>, Vec<_>) = self.declared.all().into_iter().partition(is_binding);
        for declarations in [others, bindings] {
            let share = declarations.len().div_ceil(CHANNELS_TO_DECLARE).max(1);
            let shares = declarations.chunks(share);
            let refused = try_join_all(shares.map(|share| declare_each(connection, share, limit))).await?;
            for error in refused.into_iter().flatten() {
                // Somebody changed the broker meanwhile: that must not keep everything else from working.
                tracing::warn!(%error, "Could not declare again what was declared before.");
            }
        }
        Ok(())
    }

    async fn drive(&mut self, session: &mut Session, mut transport: Transport) -> SessionEnd {
        let watchdog = transport.watchdog(self.suspicion.clone());
        let limit = self.supervisor.config().operation_timeout;
        let upkeep = upkeep::keep(transport.connection(), self.declarations.clone(), limit);
        tokio::pin!(watchdog, upkeep);
        let mut check = tokio::time::interval(CONFIRM_CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.supervisor.stop().clone();
        let mut requests = Vec::with_capacity(REQUESTS_PER_TURN);
        // The order of the arms is the order of their urgency. A stop comes first. The broker's word on the connection comes
        // before the confirms, because after a block or an end they mean something else. Confirms come before new
        // requests, or a flood of these would starve them, and with them the window that holds the flood back. While the
        // broker blocks us nothing is taken from the inbox: what is handed to the client library then piles up in a
        // buffer of its own that has no limit.
        let reason = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.drain(session).await;
                    transport.close().await;
                    return SessionEnd::Stopped;
                }
                event = transport.next_event() => match event {
                    TransportEvent::Blocked(reason) => {
                        session.blocked = true;
                        self.supervisor.on_blocked(reason);
                    }
                    TransportEvent::Unblocked => {
                        session.unblock();
                        self.supervisor.on_unblocked();
                    }
                    TransportEvent::Lost(reason) => break reason,
                },
                reason = &mut watchdog => break reason,
                result = session.confirms() => if let Err(reason) = result { break reason },
                never = &mut upkeep => match never {},
                _ = check.tick() => if let Err(reason) = session.check(self.confirm_timeout) { break reason },
                _ = self.inbox.recv_many(&mut requests, REQUESTS_PER_TURN), if !session.blocked => {
                    requests.drain(..).for_each(|request| session.send(request));
                }
            }
        };
        // Whatever was confirmed before the end is confirmed, and the rest gets the broker's own words.
        let detail = session.confirms().now_or_never().and_then(Result::err);
        SessionEnd::Lost(detail.unwrap_or(reason))
    }

    /// Sends what is already waiting and gives outstanding confirms the operation timeout to come.
    async fn drain(&mut self, session: &mut Session) {
        self.inbox.close();
        if session.blocked {
            return;
        }
        while let Ok(request) = self.inbox.try_recv() {
            session.send(request);
        }
        let confirms = async { while !session.is_idle() && session.confirms().await.is_ok() {} };
        // What is unconfirmed after that is answered as unknown.
        let _ = timeout(self.supervisor.config().operation_timeout, confirms).await;
    }
}

/// The messages of one session that have no answer yet.
struct Session {
    channel: Channel,
    activity: Activity,
    publishes: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// By sequence number. A message stays here until its fate is known, which can be after its confirm.
    in_flight: HashMap<u64, InFlight>,
    next_sequence: u64,
    ledger: ReturnLedger,
    blocked: bool,
    /// Confirms are not expected from before this time: the broker was blocking us.
    waiting_since: Instant,
}

struct InFlight {
    message_id: String,
    exchange: String,
    mandatory: bool,
    sent_at: Instant,
    answer: oneshot::Sender<Result<Published, PublishError>>,
    place: Place,
}

impl InFlight {
    fn conclude(self, with: Result<Published, PublishError>) {
        self.place.give_back();
        answer(self.answer, with);
    }
}

struct Outcome {
    sequence: u64,
    result: Result<Confirmation, lapin::Error>,
}

impl Session {
    fn new(channel: Channel, activity: Activity) -> Self {
        Self {
            channel,
            activity,
            publishes: FuturesUnordered::new(),
            in_flight: HashMap::new(),
            next_sequence: 0,
            ledger: ReturnLedger::default(),
            blocked: false,
            waiting_since: Instant::now(),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    fn unblock(&mut self) {
        self.blocked = false;
        self.waiting_since = Instant::now();
    }

    /// Hands a message to the client library. Sending happens when the publish is first polled, which this task
    /// alone does, in order: confirms are numbered by that order.
    fn send(&mut self, request: Request) {
        if request.answer.is_closed() {
            return; // the caller gave up while it waited
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let Request { message, answer, place } = request;
        let PreparedMessage { exchange, routing_key, mandatory, message_id, properties, body } = *message;
        let in_flight = InFlight {
            message_id,
            exchange: exchange.to_string(),
            mandatory,
            answer,
            sent_at: Instant::now(),
            place,
        };
        let channel = self.channel.clone();
        let options = BasicPublishOptions {
            mandatory,
            immediate: false, // RabbitMQ does not know it and closes the channel
        };
        let publish = async move {
            let confirmed = channel.basic_publish(exchange, routing_key, options, &body, properties).await?;
            die_at(Failpoint::MessageUnconfirmed);
            confirmed.await
        };
        self.publishes.push(publish.map(move |result| Outcome { sequence, result }).boxed());
        self.in_flight.insert(sequence, in_flight);
    }

    /// Waits for confirms and returns what they settle. Pending for ever when nothing is outstanding; cancelling it
    /// loses nothing.
    ///
    /// An error means that the session is over.
    async fn confirms(&mut self) -> Result<(), Reason> {
        let batch = std::future::poll_fn(|context| take_ready(&mut self.publishes, context)).await;
        self.activity.note();
        self.settle(batch)
    }

    fn settle(&mut self, batch: Vec<Outcome>) -> Result<(), Reason> {
        let mut confirms = Vec::with_capacity(batch.len());
        let mut failures: Vec<(u64, lapin::Error)> = Vec::new();
        for Outcome { sequence, result } in batch {
            let (nacked, carried) = match result {
                Ok(Confirmation::Ack(carried)) => (false, carried),
                Ok(Confirmation::Nack(carried)) => (true, carried),
                // Only without confirms, which were turned on before.
                Ok(Confirmation::NotRequested) => (true, None),
                Err(error) => {
                    failures.push((sequence, error));
                    continue;
                }
            };
            let Some(message) = self.in_flight.get(&sequence) else { continue };
            confirms.push(Confirm {
                sequence,
                message_id: message.message_id.clone(),
                nacked,
                mandatory: message.mandatory,
                carried: carried.map(|returned| Returned {
                    message_id: returned
                        .properties
                        .message_id()
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                    code: returned.reply_code,
                    text: returned.reply_text.to_string(),
                }),
            });
        }
        let nothing_outstanding = self.publishes.is_empty() && failures.is_empty();
        let Self { ledger, in_flight, .. } = self;
        ledger.settle(confirms, nothing_outstanding, |sequence, verdict| {
            if let Some(message) = in_flight.remove(&sequence) {
                message.conclude(outcome(verdict));
            }
        });
        if failures.is_empty() { Ok(()) } else { Err(self.refuse(&failures)) }
    }

    /// The channel is closed. When the broker blames an exchange, the messages for that exchange are answered as
    /// refused; the others are innocent and merely unknown. Returns the reason of the end.
    fn refuse(&mut self, failures: &[(u64, lapin::Error)]) -> Reason {
        // Every message in flight fails with the channel, but only one error is the broker's own.
        let blame = failures.iter().find(|(_, error)| error.is_amqp_error()).or(failures.first());
        let Some((_, error)) = blame else { return Reason::new("") };
        match ChannelFault::from_client(error) {
            ChannelFault::Exchange { name, broker_says } => {
                for (_, message) in self.in_flight.extract_if(|_, message| message.exchange == name) {
                    let (exchange, broker_says) = (name.clone(), broker_says.clone());
                    message.conclude(Err(PublishError::Refused { exchange, broker_says }));
                }
                Reason::from(error)
            }
            ChannelFault::Other(reason) => reason,
        }
    }

    /// Ends the session when the oldest message has waited too long for its confirm, those apart whose places were released.
    fn check(&mut self, confirm_timeout: Duration) -> Result<(), Reason> {
        if !self.channel.status().connected() {
            return Err(Reason::new("the broker closed the channel for publishing"));
        }
        let awaited = self.in_flight.values().filter(|message| message.place.is_taken());
        let oldest = awaited.map(|message| message.sent_at).min();
        match oldest {
            Some(sent_at) if !self.blocked && sent_at.max(self.waiting_since).elapsed() > confirm_timeout => {
                Err(Reason::new(format!("the broker did not confirm a message within {confirm_timeout:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The session is over: nobody knows what became of the messages without an answer.
    fn abandon(&mut self, reason: &Reason) {
        for (_, message) in self.in_flight.drain() {
            let unknown = Err(PublishError::unknown(reason.clone()));
            message.conclude(if mutant("confirm_assumed") { Ok(Published::Confirmed) } else { unknown });
        }
    }
}

fn answer(to: oneshot::Sender<Result<Published, PublishError>>, with: Result<Published, PublishError>) {
    // A caller that no longer listens does not want to know.
    let _ = to.send(with);
}

fn outcome(verdict: Verdict) -> Result<Published, PublishError> {
    match verdict {
        Verdict::Confirmed => Ok(Published::Confirmed),
        Verdict::Returned(_) if mutant("return_unnoticed") => Ok(Published::Confirmed),
        Verdict::Nacked => Err(PublishError::Nacked),
        Verdict::Returned(Returned { code, text, .. }) => Ok(Published::Returned { code, text }),
    }
}

/// Every result that is there now; pending when there is none.
///
/// The ledger of returns relies on a batch being *complete*: a result that was there before one in the batch must be
/// in it too. The set of futures may claim to be pending although some are ready, to let others run; it then wakes
/// the task itself, which is how this is told apart.
fn take_ready<F>(futures: &mut FuturesUnordered<F>, context: &mut Context<'_>) -> Poll<Vec<F::Output>>
where
    F: Future,
{
    let flag = Arc::new(WakeFlag { raised: AtomicBool::new(false), task: context.waker().clone() });
    let waker = Waker::from(flag.clone());
    let mut flagged = Context::from_waker(&waker);
    let mut ready = Vec::new();
    loop {
        match futures.poll_next_unpin(&mut flagged) {
            Poll::Ready(Some(output)) => ready.push(output),
            Poll::Ready(None) => break,
            Poll::Pending if flag.raised.swap(false, Ordering::AcqRel) => {}
            Poll::Pending => break,
        }
    }
    if ready.is_empty() { Poll::Pending } else { Poll::Ready(ready) }
}

struct WakeFlag {
    raised: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}
