//! What can happen next: the steps of the backend, the broker, the workers and people, and the faults.

use crewcall_backend::domain::State;

use super::{
    invariants::{self, Violation},
    lives::{Input, Lives, View},
    world::{ATTEMPTS_MAX, Execution, News, Order, Place, Queued, Response, WORKERS, World},
};

/// How the parts behave, apart from the state machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    /// Whether a response is acknowledged before it is recorded: wrong.
    pub(super) acknowledges_first: bool,
    /// Whether lost orders are looked for.
    pub(super) reconciles: bool,
    /// What workers report before they answer, in this order; each may be left out.
    pub(super) reports: &'static [News],
    /// Whether what is over is forgotten, once the state machine was seen to ignore any news of it. That makes
    /// the world much smaller; without it, a trace shows where each late message comes from.
    pub(super) forgets: bool,
    /// Whether nothing goes wrong but that the backend is killed.
    pub(super) crashes_only: bool,
    /// Whether somebody may cancel the job.
    pub(super) cancels: bool,
    /// Whether orders of other jobs always wait in the queue, so that it is never empty.
    pub(super) has_backlog: bool,
    /// Whether an order that later ones have overtaken is known to be in no queue.
    pub(super) sees_overtaking: bool,
    /// Whether no answer can be read, or workers acknowledge and give none.
    pub(super) answers_are_lost: bool,
    /// Whether workers leave and hand back what they run.
    pub(super) hands_back: bool,
    /// Whether an order may have come in a bundle: then it is handed back when it comes again, and not run.
    pub(super) splits: bool,
}

/// One thing that happens. It is done at once; everything that a crash can come between is two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The job is due.
    BecomeDue,
    /// The backend takes the job to be dispatched, and commits that.
    Dispatch,
    /// The broker confirms an order.
    Publish(Order),
    /// The backend keeps the high-water mark.
    Mark,
    /// A worker takes an order.
    Take(Queued),
    /// A worker gets an order in a bundle that came back, and says that it did not begin with it.
    Split(Queued),
    /// A worker reports that an execution started, got further, or is held.
    Report(Execution, News),
    /// A worker publishes the answer of an execution.
    Answer(Execution, News),
    /// A worker acknowledges an order.
    AcknowledgeOrder(Execution),
    /// The backend records a response, and commits that.
    Record(Response),
    /// The backend acknowledges a response.
    Acknowledge(Response),
    /// The reconciler finds that the order is nowhere.
    SendAgain,
    /// The lease of a held attempt ends.
    EndLease,
    /// Somebody asks to cancel the job.
    Cancel,
    /// Something goes wrong.
    Fault(Fault),
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The backend is killed and starts again.
    BackendCrash,
    /// A worker is killed, and another comes in its place.
    WorkerKilled(Execution),
    /// A worker falls silent, but goes on: a zombie.
    WorkerSilent(Execution),
    /// A worker leaves, and hands an execution back. No harm is done, but a job that is handed back for ever never ends.
    HandedBack(Execution),
    /// The broker loses an order.
    OrderLost(Queued),
    /// The broker loses a response.
    ResponseLost(Response),
    /// An order arrives twice.
    OrderDoubled(Queued),
    /// A response arrives twice.
    ResponseDoubled(Response),
    /// The reconciler decides while a response waits to be recorded.
    SentAgainTooSoon,
    /// A lease ends while a response waits to be recorded.
    LeaseEndedTooSoon,
}

impl Step {
    /// Whether it is sure to happen if nothing else does: liveness may rely on it.
    pub(super) fn is_owed(self) -> bool {
        match self {
            Self::BecomeDue
            | Self::Dispatch
            | Self::Publish(_)
            | Self::Mark
            | Self::Take(_)
            | Self::Split(_)
            | Self::AcknowledgeOrder(_)
            | Self::Record(_)
            | Self::Acknowledge(_)
            | Self::SendAgain
            | Self::EndLease => true,
            Self::Answer(execution, _) => !execution.is_zombie,
            Self::Report(..) | Self::Cancel | Self::Fault(_) => false,
        }
    }
}

/// Every step that can come next, into `steps`.
pub(super) fn possible(world: &World, view: &View, protocol: Protocol, steps: &mut Vec<Step>) {
    steps.clear();
    match view.state {
        State::Scheduled => steps.push(Step::BecomeDue),
        State::Ready => steps.push(Step::Dispatch),
        State::Blocked
        | State::Unroutable
        | State::Dispatched
        | State::Running
        | State::Completed
        | State::Failed
        | State::Cancelled => {}
    }
    if protocol.forgets && view.state.is_terminal() {
        return;
    }
    steps.extend(world.sending.choices().map(Step::Publish));
    // The mark never passes a number that is not confirmed.
    if !world.is_marked && world.sending.is_empty() {
        steps.push(Step::Mark);
    }
    if world.heard().count() < WORKERS {
        steps.extend(world.orders.choices().map(Step::Take));
        let came_back = world.orders.choices().filter(|queued| protocol.splits && queued.redelivered);
        steps.extend(came_back.map(Step::Split));
    }
    for execution in world.executions.choices() {
        execute(execution, view, protocol, steps);
    }
    // What was recorded is acknowledged before anything else is recorded. Reports of start and progress
    // share a queue, and so do "held" and "handed back"; all else may overtake each other.
    let is_recorded = world.responses.iter().any(|response| response.place == Place::Recorded);
    for response in world.responses.choices() {
        let first = match response.news {
            News::Progressed => Some(News::Started),
            News::HandedBack => Some(News::Held),
            News::Started
            | News::Held
            | News::NotBegun
            | News::Completed
            | News::Failed
            | News::Cancelled => None,
        };
        let is_behind = first.is_some_and(|news| world.responses.contains(Response { news, ..response }));
        if is_behind || (is_recorded && response.place != Place::Recorded) {
            continue;
        }
        let acknowledges_now = match response.place {
            Place::Queued => protocol.acknowledges_first,
            Place::Recorded => true,
            Place::InMemory => false,
        };
        steps.push(if acknowledges_now { Step::Acknowledge(response) } else { Step::Record(response) });
    }
    rescue(world, view, protocol, steps);
    if protocol.cancels && !world.cancel_asked {
        steps.push(Step::Cancel);
    }
    if world.faults_left > 0 {
        faults(world, protocol, steps);
    }
}

fn execute(execution: Execution, view: &View, protocol: Protocol, steps: &mut Vec<Step>) {
    let is_held = execution.said == Some(News::Held);
    if execution.has_order && (is_held || execution.has_answered) {
        steps.push(Step::AcknowledgeOrder(execution));
    }
    if execution.has_answered {
        return;
    }
    let next = protocol.reports.iter().copied().filter(|news| execution.said.is_none_or(|said| said < *news));
    steps.extend(next.map(|news| Step::Report(execution, news)));
    steps.push(Step::Answer(execution, News::Completed));
    // A worker is told of a cancellation through its control queue, and again after each heartbeat.
    let otherwise = if view.is_cancel_requested { News::Cancelled } else { News::Failed };
    steps.push(Step::Answer(execution, otherwise));
}

/// The sweeps that look for what was lost. They decide on evidence; where the evidence is out of date because
/// a response still waits to be recorded, deciding is a fault.
fn rescue(world: &World, view: &View, protocol: Protocol, steps: &mut Vec<Step>) {
    let Some(order) = view.order() else { return };
    let too_soon = world.awaits_news_of(order);
    if too_soon && (world.faults_left == 0 || protocol.crashes_only) {
        return;
    }
    let is_run = world.heard().any(|execution| execution.order.attempt == order.attempt);
    let is_looked_after = match (view.state, view.claim) {
        (State::Dispatched, _) => !world.sending.contains(order),
        (State::Running, Some((_, is_held))) => !is_held,
        _ => false,
    };
    // Under a backlog it shows by the orders that were published later: they can be delivered only when this one is not
    // in front of them.
    let is_seen = !protocol.has_backlog || protocol.sees_overtaking;
    if protocol.reconciles && is_seen && is_looked_after && world.orders.is_empty() && !is_run {
        steps.push(if too_soon { Step::Fault(Fault::SentAgainTooSoon) } else { Step::SendAgain });
    }
    if let (State::Running, Some((holder, true))) = (view.state, view.claim)
        && !world.heard().any(|execution| execution.number == holder)
    {
        steps.push(if too_soon { Step::Fault(Fault::LeaseEndedTooSoon) } else { Step::EndLease });
    }
}

fn faults(world: &World, protocol: Protocol, steps: &mut Vec<Step>) {
    let mut fault = |fault| steps.push(Step::Fault(fault));
    fault(Fault::BackendCrash);
    if protocol.crashes_only {
        return;
    }
    for order in world.orders.choices() {
        fault(Fault::OrderLost(order));
        fault(Fault::OrderDoubled(order));
    }
    for response in world.responses.choices().filter(|response| response.place == Place::Queued) {
        // Any other report may be left out: losing it is the same.
        if response.news.is_answer()
            || matches!(response.news, News::Held | News::HandedBack | News::NotBegun)
        {
            fault(Fault::ResponseLost(response));
        }
        fault(Fault::ResponseDoubled(response));
    }
    for execution in world.executions.choices().filter(|execution| !execution.has_answered) {
        if protocol.hands_back {
            fault(Fault::HandedBack(execution));
        }
    }
    for execution in world.executions.choices().filter(|execution| !execution.is_zombie) {
        fault(Fault::WorkerKilled(execution));
        fault(Fault::WorkerSilent(execution));
    }
}

/// The world after a step.
pub(super) fn take(
    world: &World,
    step: Step,
    protocol: Protocol,
    lives: &mut Lives,
) -> Result<World, Violation> {
    let mut next = world.clone();
    let view = *lives.view(world.status);
    match step {
        Step::BecomeDue => happen(&mut next, Input::Due, lives)?,
        Step::Dispatch => {
            // A fresh token for an attempt that has none; for one that is sent again, a wrong one to be ignored.
            let fresh_token = if view.token.is_none() { view.attempt } else { view.attempt + 10 };
            happen(&mut next, Input::Dispatched { fresh_token }, lives)?;
            let order = lives.view(next.status).order().ok_or(Violation::NoToken)?;
            next.sending.insert(order);
            next.is_marked = false;
        }
        Step::Publish(order) => {
            next.sending.remove(order);
            next.orders.insert(Queued { order, redelivered: false });
        }
        Step::Mark => next.is_marked = true,
        Step::Take(queued) => drop(begin(&mut next, queued, &view)),
        Step::Split(queued) => {
            let execution = begin(&mut next, queued, &view);
            answer(&mut next, execution, Some(News::NotBegun));
        }
        Step::Report(execution, news) => {
            publish(&mut next, execution, news);
            next.executions.replace(execution, Execution { said: Some(news), ..execution });
        }
        Step::Answer(execution, news) => {
            answer(&mut next, execution, (!protocol.answers_are_lost).then_some(news));
        }
        Step::AcknowledgeOrder(execution) => {
            next.executions.remove(execution);
            if !execution.has_answered {
                next.executions.insert(Execution { has_order: false, ..execution });
            }
        }
        Step::Record(response) => record(&mut next, response, &view, lives)?,
        Step::Acknowledge(response) => {
            next.responses.remove(response);
            if response.place == Place::Queued {
                next.responses.insert(Response { place: Place::InMemory, ..response });
            }
        }
        Step::SendAgain => send_again(&mut next, &view, lives)?,
        Step::EndLease => end_lease(&mut next, &view, lives)?,
        Step::Cancel => {
            next.cancel_asked = true;
            happen(&mut next, Input::CancelRequested, lives)?;
        }
        Step::Fault(fault) => {
            next.faults_left -= 1;
            fail(&mut next, fault, &view, lives)?;
        }
    }
    forget(&mut next, protocol, lives)?;
    Ok(next)
}

/// A worker has an order from now on.
fn begin(next: &mut World, queued: Queued, view: &View) -> Execution {
    let Queued { order, redelivered } = queued;
    let number = free_number(next, view);
    let (has_order, has_answered, is_zombie) = (true, false, false);
    let execution = Execution { number, order, said: None, redelivered, has_order, has_answered, is_zombie };
    next.orders.remove(queued);
    next.executions.insert(execution);
    execution
}

fn record(next: &mut World, response: Response, view: &View, lives: &mut Lives) -> Result<(), Violation> {
    let before = next.status;
    happen(next, response.input(), lives)?;
    let is_refused = next.status == before && view.order() == Some(response.order);
    let is_held = view.claim.is_some_and(|(_, is_held)| is_held);
    if is_refused && response.redelivered && view.state.is_in_flight() && !is_held {
        return Err(Violation::AnswerRefused);
    }
    next.truth_mut(response.order.attempt).unheard |= is_refused && response.news.is_answer();
    next.responses.remove(response);
    if response.place == Place::Queued {
        next.responses.insert(Response { place: Place::Recorded, ..response });
    }
    Ok(())
}

/// Forgets what makes no difference any more.
fn forget(next: &mut World, protocol: Protocol, lives: &mut Lives) -> Result<(), Violation> {
    let View { state, attempt, .. } = *lives.view(next.status);
    next.forget_unobservable(state);
    if protocol.forgets && state.is_terminal() {
        if !lives.ignores_everything(next.status) {
            return Err(Violation::ChangedAfterTheEnd);
        }
        next.forget_before(ATTEMPTS_MAX + 1);
    } else if protocol.forgets {
        if !lives.ignores_before(next.status, attempt) {
            return Err(Violation::PastCounts);
        }
        next.forget_before(attempt);
    }
    Ok(())
}

fn fail(next: &mut World, fault: Fault, view: &View, lives: &mut Lives) -> Result<(), Violation> {
    match fault {
        Fault::BackendCrash => restart(next, view),
        Fault::WorkerKilled(execution) => {
            next.truth_mut(execution.order.attempt).unheard = true;
            next.executions.remove(execution);
            if execution.has_order {
                next.orders.insert(Queued { order: execution.order, redelivered: true });
            }
        }
        Fault::WorkerSilent(execution) => {
            next.truth_mut(execution.order.attempt).unheard = true;
            next.executions.remove(execution);
            if execution.has_order {
                next.orders.insert(Queued { order: execution.order, redelivered: true });
            }
            if !execution.has_answered {
                next.executions.insert(Execution { has_order: false, is_zombie: true, ..execution });
            }
        }
        // Confirmed before its order is acknowledged, as an answer is.
        Fault::HandedBack(execution) => answer(next, execution, Some(News::HandedBack)),
        Fault::OrderLost(order) => next.orders.remove(order),
        Fault::ResponseLost(response) => {
            next.responses.remove(response);
            next.truth_mut(response.order.attempt).unheard |=
                response.news.is_answer() || matches!(response.news, News::HandedBack | News::NotBegun);
        }
        Fault::OrderDoubled(order) => next.orders.insert(order),
        Fault::ResponseDoubled(response) => next.responses.insert(response),
        Fault::SentAgainTooSoon => send_again(next, view, lives)?,
        Fault::LeaseEndedTooSoon => {
            next.truth_mut(view.attempt).unheard = true;
            end_lease(next, view, lives)?;
        }
    }
    Ok(())
}

/// A new process: it sends again what was not marked, and gets again what was not acknowledged.
fn restart(next: &mut World, view: &View) {
    next.responses.retain(|response| response.place != Place::InMemory);
    next.responses.map(|response| Response { place: Place::Queued, ..response });
    next.sending.clear();
    let is_held = view.claim.is_some_and(|(_, is_held)| is_held);
    if let (true, false, false, Some(order)) =
        (view.state.is_in_flight(), is_held, next.is_marked, view.order())
    {
        next.sending.insert(order);
    }
}

fn send_again(next: &mut World, view: &View, lives: &mut Lives) -> Result<(), Violation> {
    match view.order() {
        Some(order) => happen(next, Input::OrderLost(order), lives),
        None => Ok(()),
    }
}

fn end_lease(next: &mut World, view: &View, lives: &mut Lives) -> Result<(), Violation> {
    match view.claim {
        Some((execution, _)) => happen(next, Input::LeaseExpired { attempt: view.attempt, execution }, lives),
        None => Ok(()),
    }
}

/// A worker is done; `None`: and nobody learns of it.
fn answer(next: &mut World, execution: Execution, news: Option<News>) {
    match news {
        Some(news) => publish(next, execution, news),
        None => next.truth_mut(execution.order.attempt).unheard = true,
    }
    next.executions.remove(execution);
    if execution.has_order {
        next.executions.insert(Execution { has_answered: true, ..execution });
    }
}

fn publish(next: &mut World, execution: Execution, news: News) {
    let redelivered = execution.redelivered && matches!(news, News::Failed | News::Cancelled);
    let (order, execution, place) = (execution.order, execution.number, Place::Queued);
    next.responses.insert(Response { news, order, execution, redelivered, place });
}

/// The lowest number that nothing mentions: execution ids are only ever compared.
fn free_number(world: &World, view: &View) -> u8 {
    (0..)
        .find(|number| {
            view.claim.is_none_or(|(claimant, _)| claimant != *number)
                && view.given_up_by != Some(*number)
                && world.executions.iter().all(|execution| execution.number != *number)
                && world.responses.iter().all(|response| response.execution != *number)
        })
        .expect("numbers go on")
}

/// The store runs the state machine, and keeps what comes out.
fn happen(world: &mut World, input: Input, lives: &mut Lives) -> Result<(), Violation> {
    let Some(changed) = lives.after(world.status, input) else { return Ok(()) };
    let (before, after) = (*lives.view(world.status), *lives.view(changed.status));
    invariants::check_change(world, input, &before, &after, changed.ended)?;
    if let Some((attempt, outcome)) = changed.ended {
        world.truth_mut(attempt).charged = Some(outcome);
    }
    world.conclusions += u8::from(after.state.is_terminal());
    world.status = changed.status;
    Ok(())
}
