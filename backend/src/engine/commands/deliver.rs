//! What others deliver to hooks: checked, and recorded as events.

use crewcall_proto::{
    codec::{DEPTH_MAX, PAYLOAD_BYTES_MAX, json_depth_exceeds},
    event::is_event_id,
    numbers::{ARRIVE, changed_numbers},
};
use crewcall_webhooks::{HeaderMap, VerificationError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::publish::{PublishError, Published, event_id};
use crate::{
    domain::{Hook, HookName, NewEvent, Problem, Sequence, Subject, excerpt},
    engine::{Caller, Engine, hooks::verification, ports::StoreError, settings::schema::PROBLEMS_MAX},
    metrics::HookOutcome,
};

/// The largest body of a delivery, in bytes: what the data of an event may have.
pub const DELIVERY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Why a delivery is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("there is no such hook")]
    Unknown,
    /// It is not from whom it says, or not as it was sent.
    #[error(transparent)]
    Unverified(VerificationError),
    /// It is from the sender, and cannot be the data of an event.
    #[error("the body has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    /// Somebody published another event under the id that it would have.
    #[error("the id belongs to event {0}, which is none of this hook")]
    IdTaken(Sequence),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Takes what a sender delivers to a hook: when this returns `Ok`, it is on disk as an event. The sender's id of the
    /// delivery, or without one what the body says, makes it the same event when it comes again, whatever the rest is then.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`] when it is not recorded; nothing is stored then.
    pub async fn deliver(
        &self,
        caller: &Caller,
        name: &HookName,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Published, DeliveryError> {
        let hook = self.store.hook(name).ok_or(DeliveryError::Unknown)?;
        let delivered = match self.checked_delivery(&hook, headers, body) {
            Ok(event) => self.publish_checked(caller, vec![Ok(event)]).await?.pop().map_or_else(
                || Err(StoreError::Broken { reason: "it answered for no event".to_owned() }.into()),
                |published| published.map_err(DeliveryError::from),
            ),
            Err(error) => Err(error),
        };
        let outcome = match &delivered {
            Ok(Published::Recorded(_)) => HookOutcome::Accepted,
            Ok(Published::Replayed(_)) => HookOutcome::Repeated,
            Err(DeliveryError::Unverified(_)) => HookOutcome::Unverified,
            Err(DeliveryError::Invalid(_) | DeliveryError::IdTaken(_)) => HookOutcome::Invalid,
            // The sender comes again.
            Err(DeliveryError::Unknown | DeliveryError::Store(_)) => return delivered,
        };
        self.metrics.hook_delivery(name, outcome);
        delivered
    }

    fn checked_delivery(
        &self,
        hook: &Hook,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<NewEvent, DeliveryError> {
        let secrets = hook.secrets_at(self.clock.now());
        let verification = verification(&hook.check, secrets)
            .map_err(|problems| StoreError::Broken { reason: Problem::sentence(&problems) })?;
        // The sender's time is that of the world, so ours is that of the machine.
        let seconds = self.clock.wall().as_millis().div_euclid(1_000);
        let delivery_id = verification.verify(headers, body, seconds).map_err(|error| {
            // Whoever reaches us can cause it, as often as they like.
            tracing::debug!(hook = %hook.name, reason = %error, "A delivery was refused.");
            DeliveryError::Unverified(error)
        })?;
        let data = read_data(body).map_err(DeliveryError::Invalid)?;
        let delivery_id = delivery_id.unwrap_or_else(|| sha256_hex(body));
        let id = hook.name.event_id(&delivery_id);
        if !is_event_id(&id) {
            let message = "the id of the delivery is not of visible ASCII characters alone";
            return Err(DeliveryError::Invalid(vec![Problem::new("", message)]));
        }
        let subject = Subject::of_hook(&hook.name);
        // What makes it the same is its id: a sender may write it anew each time that they try.
        let id = event_id(id, subject.as_str(), None, Value::Null);
        Ok(NewEvent { subject, data, id: Some(id), occurred_at: None, origin: None })
    }
}

impl From<PublishError> for DeliveryError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Invalid(problems) => Self::Invalid(problems),
            PublishError::IdReused(sequence) => Self::IdTaken(sequence),
            PublishError::Store(error) => Self::Store(error),
        }
    }
}

/// The data of an event as JSON text.
fn read_data(body: &[u8]) -> Result<String, Vec<Problem>> {
    let wrong = |message: String| vec![Problem::new("", message)];
    if json_depth_exceeds(body, DEPTH_MAX) {
        return Err(wrong(format!("the body nests deeper than {DEPTH_MAX} levels")));
    }
    let data: Value = serde_json::from_slice(body).map_err(|error| {
        wrong(format!("the body is not JSON: {error}; have the sender send application/json"))
    })?;
    if data.is_null() {
        return Err(wrong("the body is null: an event has data".to_owned()));
    }
    let changed = changed_numbers(body, "", PROBLEMS_MAX);
    if !changed.is_empty() {
        let problem = |number: crewcall_proto::numbers::ChangedNumber| {
            let shown = excerpt(&number.number);
            let message = format!("the number {shown} would not arrive as it was sent: {ARRIVE}");
            Problem::new(number.pointer, message)
        };
        return Err(changed.into_iter().map(problem).collect());
    }
    let text = data.to_string();
    if text.len() > PAYLOAD_BYTES_MAX {
        let message =
            format!("the body is {} bytes of JSON; an event has at most {PAYLOAD_BYTES_MAX}", text.len());
        return Err(wrong(message));
    }
    Ok(text)
}

fn sha256_hex(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_data_is_told() {
        let told = |body: &str| read_data(body.as_bytes()).unwrap_err().remove(0);
        assert!(told("payload=%7B%7D").message.starts_with("the body is not JSON: "));
        assert!(told("").message.starts_with("the body is not JSON: "));
        assert_eq!(told("null").message, "the body is null: an event has data");
        assert_eq!(told(r#"{"a":[18446744073709551616]}"#).pointer, "/a/0");
        assert!(told(&format!("{}{}", "[".repeat(33), "]".repeat(33))).message.contains("deeper than 32"));
        let many = format!("[{}1e5]", "1e5,".repeat(PAYLOAD_BYTES_MAX / 4 - 1));
        assert!(told(&many).message.contains("bytes of JSON; an event has at most 262144"));
        for body in ["0", "[]", r#"{"b":1,"a":"ä"}"#] {
            assert_eq!(read_data(format!(" {body}\n").as_bytes()).unwrap(), body);
        }
    }

    #[test]
    fn a_hash_is_written_with_all_its_digits() {
        // By `printf '' | sha256sum`.
        let expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), expected);
    }
}
