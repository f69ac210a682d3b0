//! The mutants: our programs, each broken on purpose at one place, and what finds out. A net that calls one of them well
//! has a hole.
//!
//! A place in the code asks `mutant("name")`, which the feature `failpoints` answers by the variable `FAILPOINTS`. Whoever
//! starts a program of ours here gives it [`failpoints`], and so [`TEST_MUTANT`] breaks the programs of any test:
//! `TEST_MUTANT=ack_early ./dev e2e f23`. The program `mutants` (`./dev mutants`) shows that each is found.

/// The variable that names the mutant of a run of tests or of chaos; none when it is not set.
pub const TEST_MUTANT: &str = "TEST_MUTANT";

/// One way in which our programs are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// What the code asks for.
    pub name: &'static str,
    /// What it does wrong.
    pub breaks: &'static str,
    /// What finds out: the whole name of a test of the program `it`.
    pub found_by: &'static str,
    /// When it strikes, in the words of the crate `fail`.
    pub strikes: &'static str,
    /// Whether it is one of the few that every run of CI tries.
    pub is_quick: bool,
}

impl Mutant {
    const fn new(name: &'static str, breaks: &'static str, found_by: &'static str) -> Self {
        Self { name, breaks, found_by, strikes: "return", is_quick: false }
    }

    /// It strikes now and then, because it would break everything at once otherwise.
    const fn now_and_then(self) -> Self {
        Self { strikes: "10%return", ..self }
    }

    /// Its test takes a few seconds, and it stands for a part of the program.
    const fn quick(self) -> Self {
        Self { is_quick: true, ..self }
    }

    /// What `FAILPOINTS` says to switch it on.
    fn setting(&self) -> String {
        format!("mutant_{}={}", self.name, self.strikes)
    }
}

/// All of them, by the part of the program that they break. A test holds the names against the code.
#[rustfmt::skip]
pub const MUTANTS: [Mutant; 39] = [
    // The store.
    Mutant::new("answer_early", "a submission is answered before its transaction is committed",
        "faults::store::f42_fsync_fails"),
    Mutant::new("key_forgotten", "an idempotency key is not kept with its job",
        "faults::races::submit::f58_a_hundred_submissions_with_one_key_are_one_job"),
    Mutant::new("limit_ignored", "more attempts of a type run at once than its limit allows",
        "type_settings::a_limit_keeps_attempts_from_running_at_once"),
    Mutant::new("settings_unkept", "what is set for a type is not written down, and gone with the process",
        "type_settings::a_paused_type_waits_and_says_by_whom").quick(),
    Mutant::new("end_unrecorded", "the end of a job is not recorded although a consumer selects it",
        "consumers::an_event_makes_a_job_and_its_end_another"),
    Mutant::new("emitted_forgotten", "a result is recorded without the events that came with it",
        "faults::emissions::f121_the_backend_dies_between_the_commit_of_results_with_events_and_their_acknowledgement"),
    Mutant::new("cursor_unkept", "a consumer's jobs are stored and its place in the log is not",
        "faults::events::f118_the_backend_dies_in_a_consumers_step"),
    Mutant::new("item_end_unheard", "a run does not hear of the end of its jobs",
        "workflows::a_result_reaches_the_next_step_and_a_false_condition_is_shown"),
    Mutant::new("mark_unkept", "what ticks make is stored and the mark up to which they were looked at is not",
        "faults::schedules::f127_the_backend_dies_between_a_tick_and_its_mark"),
    Mutant::new("fire_end_unheard", "a schedule does not hear of the end of what its ticks made",
        "schedules::a_tick_that_comes_too_early_is_skipped_waits_or_takes_the_place"),
    Mutant::new("follower_unheard", "the end of a job does not move on those that come after it",
        "followers::a_job_begins_when_everything_is_over_that_it_comes_after"),
    // The relay.
    Mutant::new("mark_early", "an order counts as confirmed before it is published",
        "faults::backend::unsent::f20_orders_that_never_left_are_not_taken_for_confirmed").quick(),
    Mutant::new("unsent_forgotten", "a start does not send again what may not have reached the broker",
        "faults::backend::unsent::f20_orders_that_never_left_are_not_taken_for_confirmed"),
    Mutant::new("returned_is_sent", "an order that comes back because no queue takes it counts as sent",
        "faults::broker::topology::f17_the_queue_of_the_alternate_exchange_is_unbound"),
    Mutant::new("replaced_unsent", "what was in a queue that was replaced is not sent again",
        "faults::broker::queues::f109_a_queue_stops_answering_with_orders_in_it"),
    Mutant::new("first_together", "the first order of a session is sent where it may hold up all others",
        "faults::broker::queues::f109_the_broker_is_killed_right_after_a_declaration"),
    // The engine.
    Mutant::new("wrong_id", "a submission is not stored, and answered with another job",
        "own_answers::each_of_many_jobs_gets_its_own_answer").now_and_then().quick(),
    Mutant::new("one_in_ten_fails", "a result is recorded as a failure that is not tried again",
        "own_answers::each_of_many_jobs_gets_its_own_answer").now_and_then().quick(),
    Mutant::new("ack_early", "a response is acknowledged before it is recorded",
        "faults::backend::f23_the_backend_dies_between_a_responses_commit_and_its_acknowledgement"),
    Mutant::new("lost_is_final", "a job whose worker is lost is not tried again",
        "faults::backend::f24_the_backend_dies_inside_a_rescue"),
    Mutant::new("cancel_dropped", "the cancellation of a running job is answered and forgotten",
        "cancel_and_retry::a_running_job_is_told_and_stops"),
    Mutant::new("attempt_uncharged", "an attempt that failed is not kept in the job's history",
        "handler_error::an_error_is_retried_until_the_attempts_are_used_up"),
    Mutant::new("token_unchecked", "an answer counts whatever its attempt token says",
        "faults::messages::forged::f39_a_forged_answer_changes_nothing"),
    Mutant::new("end_is_not_final", "a response changes a job that is over",
        "faults::worker::repeated::f31_a_response_comes_a_hundred_times"),
    Mutant::new("bundle_cut_short", "of answers that came together, only the first is read",
        "bundles::short_orders_of_a_backlog_come_in_bundles"),
    // The links.
    Mutant::new("topology_unkept", "exchanges and bindings that somebody removed are not declared again",
        "faults::broker::topology::f110_the_exchanges_are_deleted"),
    Mutant::new("confirm_assumed", "what a lost session left unconfirmed counts as confirmed",
        "link::broker_killed::nothing_confirmed_is_lost_when_the_broker_is_killed_while_publishing"),
    Mutant::new("return_unnoticed", "a message that no queue takes counts as confirmed",
        "link::returns::every_one_of_2000_pipelined_messages_gets_its_own_fate").quick(),
    Mutant::new("ack_short", "an acknowledgement of many is one of the last alone",
        "link::session_over::settling_twice_harms_nobody"),
    Mutant::new("declared_once", "a later session does not repeat what was declared",
        "link::session_over::all_that_was_declared_is_declared_again_and_bindings_come_last"),
    // The worker's library.
    Mutant::new("order_acked_early", "an order is acknowledged when it begins",
        "faults::worker::killed::f26_a_worker_is_killed_in_the_middle_of_a_short_job"),
    Mutant::new("start_unsaid", "nobody is told that an attempt began",
        "faults::broker::topology::f107_progress_is_dropped_while_a_job_must_start_in_time"),
    Mutant::new("seq_stuck", "the numbers of progress messages do not rise",
        "done_with_progress::a_job_is_done_and_its_progress_is_seen").quick(),
    Mutant::new("held_unlisted", "heartbeats leave out the attempts that are held",
        "faults::worker::blocking::f96_handlers_block_their_runtime"),
    Mutant::new("cancel_ignored", "a worker goes on with what it is told to cancel",
        "cancel_and_retry::a_running_job_is_told_and_stops"),
    Mutant::new("duplicate_runs", "an order that comes twice is run twice",
        "faults::broker::losses::f13_all_connections_are_closed"),
    Mutant::new("bundle_acked_early", "a bundle is acknowledged when the first of its orders is answered",
        "faults::worker::bundled::f113_a_worker_is_killed_with_a_bundle"),
    Mutant::new("bundle_unsplit", "the orders of a bundle that came back are run again together",
        "faults::worker::bundled::f114_an_order_of_a_bundle_kills_its_worker"),
    Mutant::new("hand_back_forgotten", "a worker that ends does not hand back what it holds",
        "faults::worker::rolling_restart::f104_workers_are_restarted_in_turn"),
];

/// The mutant of that name, if there is one.
#[must_use]
pub fn named(name: &str) -> Option<&'static Mutant> {
    MUTANTS.iter().find(|mutant| mutant.name == name)
}

/// What `FAILPOINTS` says to a program that a test starts: `own`, and the mutant of this run. Whoever sets the variable
/// sets it to this.
#[must_use]
pub fn failpoints(own: &str) -> String {
    let all = [own.to_owned(), setting_of_this_run().unwrap_or_default()];
    all.into_iter().filter(|setting| !setting.is_empty()).collect::<Vec<_>>().join(";")
}

/// Switches the mutant of this run on in this very process, for tests that use a part of ours without its program.
///
/// # Errors
///
/// When it cannot be: without the feature `failpoints` nothing is broken.
pub fn switch_on_here() -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    if let Some((name, action)) = setting_of_this_run().as_deref().and_then(|it| it.split_once('=')) {
        fail::cfg(name, action).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn setting_of_this_run() -> Option<String> {
    let name = std::env::var(TEST_MUTANT).ok().filter(|name| !name.is_empty())?;
    Some(named(&name)?.setting())
}
