//! Every limit of webhooks, each with its reason.

use std::time::Duration;

/// The variable by which an operator opens more than the public internet to webhooks.
pub const ALLOW_VARIABLE: &str = "CREWCALL_WEBHOOK_ALLOW";

/// The shortest signing secret, in bytes (Standard Webhooks).
pub const SECRET_BYTES_MIN: usize = 24;

/// The longest signing secret, in bytes: one block of SHA-256, beyond which HMAC would only hash it (Standard Webhooks).
pub const SECRET_BYTES_MAX: usize = 64;

/// The length of the secrets that we make, in bytes: as many as the signature has.
pub(crate) const SECRET_BYTES: usize = 32;

/// How many digits of the hash of a secret tell it from another one. They are shown to people, and give away 32 bits of
/// 192 or more.
pub(crate) const FINGERPRINT_DIGITS: usize = 8;

/// The shortest secret that another service has chosen with us, in bytes. What is shorter is soon guessed, and an empty one
/// is a setting that somebody forgot.
pub const SHARED_SECRET_BYTES_MIN: usize = 8;

/// The longest secret that another service has chosen with us, in bytes. None is known that has more than a hundred.
pub const SHARED_SECRET_BYTES_MAX: usize = 256;

/// The longest id of a message, in bytes. It is kept to tell repeated messages apart; a UUID has 36.
pub const ID_BYTES_MAX: usize = 128;

/// How far the timestamp of a signed message may be from our clock, either way, in seconds: so long could somebody who has
/// seen it send it again (Standard Webhooks' own libraries take five minutes).
pub const CLOCK_DIFFERENCE_SECONDS_MAX: i64 = 5 * 60;

/// How many signatures of one message are looked at. While secrets are rotated there are two; each costs a hash.
pub const SIGNATURES_MAX: usize = 16;

/// The longest URL, in characters: what servers are known to take.
pub const URL_CHARACTERS_MAX: usize = 2_048;

/// How long one delivery may take, from resolving the name to the last byte that is read. Standard Webhooks recommends 15 to
/// 30 seconds; the shorter, since a receiver that hangs holds one of the places of everybody else.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);

/// How many bytes of an answer's body are read. Only its first words are shown; the rest of a short one is read so that the
/// connection can be used again.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How many characters of an answer's body are kept: enough for the message of an error.
pub const EXCERPT_CHARACTERS_MAX: usize = 512;

/// How many characters of a redirect's target stand in the reason of a failure: enough to recognise it.
pub(crate) const LOCATION_CHARACTERS_MAX: usize = 200;

/// The longest wait that a receiver's `Retry-After` may ask for: the longest of our own. Who asks for a week has a mistake,
/// or means us no good.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
