//! Every limit of the worker, with the reason for its size.

use std::time::Duration;

use crewcall_proto::{
    bundle, codec,
    discovery::{AnnouncedType, Announcement, HEARTBEAT_INTERVAL},
    event,
    response::Progression,
};

/// The largest result, in bytes of its JSON text. Larger results travel by reference: write a file and return where it is.
pub const RESULT_BYTES_MAX: usize = codec::PAYLOAD_BYTES_MAX;

/// The most events of one attempt, however they are emitted: they are committed with the end of a job.
pub const EVENTS_MAX: usize = event::EVENTS_MAX;

/// How large the data of the events of one attempt are together, in bytes of their JSON text. Larger data travel by reference.
pub const EVENTS_BYTES_MAX: usize = event::EVENTS_BYTES_MAX;

/// How many subjects the events of one job type may have.
pub const SUBJECTS_MAX: usize = AnnouncedType::SUBJECTS_MAX;

/// How much of a progress message is kept, in characters.
pub const PROGRESS_MESSAGE_CHARACTERS_MAX: usize = Progression::MESSAGE_CHARACTERS_MAX;

/// The shortest time between two progress messages of one attempt, its start counted: ten a second are
/// as many as an eye follows, and an attempt that is done before costs no extra message.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// How long an attempt runs before its start is reported. The final response carries the start
/// time anyway, so a short attempt needs no message of its own for it.
pub const START_REPORT_AFTER: Duration = Duration::from_millis(250);

/// How long a redelivered attempt waits for the confirm of its start report before its handler begins.
pub(crate) const START_CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a handler has to end after its attempt was cancelled or ran out of time; then it is dropped.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a draining worker lets attempts finish, unless `CREWCALL_DRAIN_SECONDS` says otherwise.
pub const DRAIN_GRACE_DEFAULT: Duration = Duration::from_secs(30);

/// How long an attempt runs before the worker holds it, unless
/// `CREWCALL_HOLD_AFTER_SECONDS` says otherwise: long enough that few attempts cost the extra message, and far below
/// the 30 minutes after which RabbitMQ takes an order back that was not acknowledged.
pub const HOLD_AFTER_DEFAULT: Duration = Duration::from_secs(60);

/// The longest time before a hold that can be set: no acknowledgement timeout is reasonably longer.
pub const HOLD_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a heartbeat may stay unconfirmed before the links are asked for a sign of life, which they have three seconds
/// to give. So a link that swallowed a heartbeat is given up five seconds later, and the next session's comes in time for
/// the lease.
pub(crate) const HEARTBEAT_SUSPECTED_AFTER: Duration = Duration::from_secs(2);

/// How many orders a heartbeat lists at most, the running ones first. An order takes up to 100 bytes, and a message
/// has 1 MiB.
pub const ORDERS_LISTED_MAX: usize = 10_000;

/// How long the worker takes no orders of a type when its prefetch has to change. Within this time short
/// attempts end, so that the new prefetch is the full one, and what the broker had already sent arrives.
pub(crate) const PREFETCH_SETTLE: Duration = Duration::from_millis(200);

/// How long every slot of a worker of several types is taken, with no attempt ending, before it stops consuming: an order
/// that waits at its door for longer may wait beside an idle worker.
pub(crate) const DOOR_STALLED_AFTER: Duration = Duration::from_millis(500);

/// How many short attempts in a row, at least, have it consume again. To fetch costs a round trip for each order.
pub(crate) const DOOR_SHORT_ENDS_MIN: usize = 8;

/// How often an order may have come back to its queue for this worker to give it back once more although its handler never
/// ran, or was not to blame. The broker counts each return, and gives the order up after five.
pub(crate) const RETURNS_MAX: i64 = 2;

/// How often the order of an attempt that runs here may have come back to its queue before the attempt is held,
/// however short it has run. The broker counts each loss of the link as a delivery that failed, and after five it gives
/// the order up as one that ends its worker, which this worker knows better.
pub(crate) const RETURNS_BEFORE_HOLD: i64 = 2;

/// How long an order that came in a bundle waits here for a slot while all are taken; then the backend sends it anew, by
/// itself, unless its turn comes within as long again at the pace of the attempts here. What came by itself waits beside at
/// most as many others as there are slots; a bundle brings dozens, and one slow attempt would hold up all those behind it. As
/// long as it takes for slots to count as taken for long elsewhere ([`DOOR_STALLED_AFTER`]): to go back costs two more messages
/// for each order.
pub(crate) const BUNDLE_PATIENCE: Duration = Duration::from_millis(500);

/// How many bytes of answers travel together: a few hundred usual ones, and far below what one message may have. A larger
/// answer goes alone.
pub(crate) const ANSWERS_BYTES_MAX: usize = 256 * 1024;

/// How many messages with answers of one kind and type are under way at once. The second and those after it are full ones.
/// So many keep the broker busy while it confirms them one by one.
pub(crate) const ANSWERS_UNDER_WAY_MAX: usize = 4;

/// How many attempts may wait for the confirm of their answers without a slot: as many as are under way in full messages. When
/// the broker confirms nothing, no more results than these are kept beside those in the slots.
pub(crate) const ANSWERING_MAX: usize = ANSWERS_UNDER_WAY_MAX * bundle::MESSAGES_MAX;

/// The most slots of one worker.
pub const SLOTS_MAX: u32 = Announcement::SLOTS_MAX;

/// The most job types of one worker.
pub const TYPES_MAX: usize = Announcement::TYPES_MAX;

/// How many instructions from the backend may be under way to a worker at once. They are small and rare.
pub(crate) const CONTROL_PREFETCH: u16 = 16;

/// How many problems of one set of parameters are told, as in the backend.
#[cfg(feature = "validate")]
pub(crate) const PROBLEMS_MAX: usize = 32;

/// How many revoked attempts are remembered. A revocation matters only while its order is under way, and
/// at most a dispatch window (about 2 000) of a type is. A welcome brings as many.
pub(crate) const REVOKED_ORDERS_MAX: usize = 4_096;

/// How long an order that came back waits for the word that it is still wanted. The backend may be away, or of a version that
/// does not answer; and a worker is idle meanwhile.
pub(crate) const ASK_PATIENCE: Duration = Duration::from_secs(2);

/// How long the question waits for others: after an outage, every order comes back at once.
pub(crate) const ASK_GATHER: Duration = Duration::from_millis(20);

/// How long a type rests here after its handler gave an order back, at first and at most: another worker is to get the order,
/// and whatever is wrong here needs a moment to be mended. The last one is as long as the longest usual restart of a service.
pub(crate) const REST_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a handler that gives its order back waits until the backend has its reason.
pub(crate) const REASON_CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// How many finished attempts are remembered, to answer an order again that the broker redelivers.
pub(crate) const FINISHED_ORDERS_MAX: usize = 1_024;

/// How many bytes of their responses are remembered. A forgotten attempt merely runs twice.
pub(crate) const FINISHED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The shortest and the longest pause between two tries of a response or of a session.
pub(crate) const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a worker that shuts down waits for its last acknowledgements and its goodbye.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the program's runtime is asked whether it gets around to a task: a spawned task a second costs nothing.
pub(crate) const HANDLERS_ASKED_EVERY: Duration = Duration::from_secs(1);

/// How long that may take before the log says that handlers block it. A machine that is merely busy is quicker.
pub(crate) const HANDLERS_BLOCKED_AFTER: Duration = Duration::from_secs(3);

/// How often the log says so at most: whoever blocks does it with every job.
pub(crate) const HANDLERS_BLOCKED_SAID_EVERY: Duration = Duration::from_secs(60);

/// How long the worker's loop may handle no event before it counts as stuck: three heartbeats, of which each is one.
pub(crate) const LOOP_STALLED_AFTER: Duration = HEARTBEAT_INTERVAL.saturating_mul(3);

/// How many of those who ask for metrics or health are served at once: a scraper, a probe, a person, and some to spare.
pub(crate) const ENDPOINT_CONNECTIONS_MAX: usize = 16;

/// How long one of them may take to ask and to take the answer: less than Prometheus waits (10 s by default), for an answer
/// of a few kilobytes.
pub(crate) const ENDPOINT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the head of such a request may be, in bytes: the least that the HTTP library takes.
pub(crate) const ENDPOINT_HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long `--check` waits for each answer of the broker.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
