//! Every limit of the worker, with the reason for its size.

use std::time::Duration;

use crewcall_proto::{codec, discovery::Announcement, response::Progression};

/// The largest result, in bytes of its JSON text. Larger results travel by reference: write a file and return where it is.
pub const RESULT_BYTES_MAX: usize = codec::PAYLOAD_BYTES_MAX;

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

/// The most slots of one worker.
pub const SLOTS_MAX: u32 = Announcement::SLOTS_MAX;

/// The most job types of one worker.
pub const TYPES_MAX: usize = Announcement::TYPES_MAX;

/// How many instructions from the backend may be under way to a worker at once. They are small and rare.
pub(crate) const CONTROL_PREFETCH: u16 = 16;

/// How many revoked attempts are remembered. A revocation matters only while its order is under way, and
/// at most a dispatch window (about 2 000) of a type is.
pub(crate) const REVOKED_ORDERS_MAX: usize = 2_048;

/// How many finished attempts are remembered, to answer an order again that the broker redelivers.
pub(crate) const FINISHED_ORDERS_MAX: usize = 1_024;

/// How many bytes of their responses are remembered. A forgotten attempt merely runs twice.
pub(crate) const FINISHED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The shortest and the longest pause between two tries of a response or of a session.
pub(crate) const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a leaving worker waits for its last acknowledgements and its goodbye.
pub(crate) const FAREWELL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long `--check` waits for each answer of the broker.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
