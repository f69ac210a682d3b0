//! Single messages, asked for one at a time.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use lapin::options::BasicGetOptions;
use tokio::time::timeout;

use super::delivery::{Delivery, SessionEnd, Source};
use crate::{LinkError, declaration::short_string};

/// Takes single messages from queues that need not be consumed, on a channel of its own and for as long as its session
/// lasts: for a reader who must not have more than it can deal with at once.
pub struct Fetcher {
    pub(super) channel: lapin::Channel,
    pub(super) generation: u64,
    pub(super) operation_timeout: Duration,
    pub(super) end: SessionEnd,
}

impl Fetcher {
    /// The first message of a queue; `None` when it is empty.
    ///
    /// # Errors
    ///
    /// [`LinkError`], when there is no such queue, or the broker does not answer in time. A fetcher is of no use after
    /// that; no other part of the session is harmed.
    pub async fn fetch(&self, queue: &str) -> Result<Option<Delivery>, LinkError> {
        let what = format!("queue {queue}");
        let name = short_string(queue).map_err(|reason| LinkError::Invalid { what: what.clone(), reason })?;
        let options = BasicGetOptions {
            no_ack: false, // it is acknowledged by whoever has dealt with it
        };
        let answer = timeout(self.operation_timeout, self.channel.basic_get(name, options));
        let fetched = match answer.await {
            Ok(fetched) => fetched.map_err(|error| LinkError::from_client(what, &error))?,
            Err(_) => {
                return Err(LinkError::Timeout {
                    what: format!("fetch from {what}"),
                    after: self.operation_timeout,
                });
            }
        };
        Ok(fetched.map(|message| {
            let source = Source {
                channel: self.channel.clone(),
                queue: queue.into(),
                generation: self.generation,
                operation_timeout: self.operation_timeout,
                end: self.end.clone(),
                settled_up_to: AtomicU64::new(0),
            };
            Delivery::new(message.delivery, &Arc::new(source))
        }))
    }
}
