//! The header by which a submitter may send a submission again without making another job.

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::problem::{Problem, ProblemCode};
use crate::engine::ports::IdempotencyKey;

/// The header.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that the job that is returned was submitted before.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in characters.
pub const KEY_LENGTH_MAX: usize = 255;

/// The submitter's name for the submission, if there is one.
pub(super) fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        (1..=KEY_LENGTH_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        (None, _) => Err(invalid(format!(
            "an Idempotency-Key is 1 to {KEY_LENGTH_MAX} visible ASCII characters, without spaces"
        ))),
        (_, Some(_)) => Err(invalid("the header Idempotency-Key is given more than once")),
    }
}

/// The name together with what it stands for.
pub(super) fn bound(key: String, body: &[u8]) -> IdempotencyKey {
    IdempotencyKey { key, body_hash: Sha256::digest(body).into() }
}

/// Refuses the header where it is not taken.
pub(super) fn refuse_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(invalid(
            "a batch takes no Idempotency-Key: submit each job that needs one by itself, to POST /v1/jobs",
        ));
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidIdempotencyKey, detail)
}
