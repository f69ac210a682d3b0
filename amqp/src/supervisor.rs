//! The part of a link that outlives its sessions: back-off, state, and one log line where one is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{LinkConfig, LinkError, LinkState, error::Reason, transport::Transport};

/// How often a link that stays down for the same reason says so in the log.
const STILL_DOWN_LOG_EVERY: Duration = Duration::from_secs(60);

/// What the handles of a link can see of it.
#[derive(Clone)]
pub(crate) struct LinkStatus {
    pub(crate) state: watch::Receiver<LinkState>,
    reconnects: Arc<AtomicU64>,
}

impl LinkStatus {
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// The error for a caller who needs a session when there is none.
    pub(crate) fn not_connected(&self) -> LinkError {
        match &*self.state.borrow() {
            LinkState::Stopped => LinkError::Stopped,
            LinkState::Connecting { last_error: Some(error), .. } => LinkError::NotConnected(
                Reason::from_error(format!("not connected to the broker: {error}"), error.clone()),
            ),
            LinkState::Connecting { .. } | LinkState::Connected { .. } | LinkState::Blocked { .. } => {
                LinkError::NotConnected(Reason::new("not connected to the broker yet"))
            }
        }
    }

    /// Waits until the link has come to its end.
    pub(crate) async fn wait_until_stopped(&self) {
        // An error means that the link's task is gone, which is an end too.
        let _ = self.state.clone().wait_for(|state| *state == LinkState::Stopped).await;
    }
}

/// Keeps a link going from session to session until it is stopped.
pub(crate) struct Supervisor {
    config: LinkConfig,
    stop: CancellationToken,
    state: watch::Sender<LinkState>,
    reconnects: Arc<AtomicU64>,
    generation: u64,
    had_session: bool,
    attempts: u64,
    connected_at: Option<Instant>,
    backoff: ExponentialBackoff,
    /// The pause before the next attempt; none before the very first.
    pause: Option<Duration>,
    last_error: Option<LinkError>,
    logged_at: Option<Instant>,
}

impl Supervisor {
    pub(crate) fn new(config: LinkConfig, stop: CancellationToken) -> (Self, LinkStatus) {
        let (state, receiver) = watch::channel(LinkState::Connecting { attempts: 0, last_error: None });
        let reconnects = Arc::new(AtomicU64::new(0));
        let status = LinkStatus { state: receiver, reconnects: reconnects.clone() };
        let supervisor = Self {
            backoff: backoff(&config),
            config,
            stop,
            state,
            reconnects,
            generation: 0,
            had_session: false,
            attempts: 0,
            connected_at: None,
            pause: None,
            last_error: None,
            logged_at: None,
        };
        (supervisor, status)
    }

    pub(crate) fn config(&self) -> &LinkConfig {
        &self.config
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The number of the session that is being prepared or running.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Connects, as often as it takes. `None` when the link is stopped.
    pub(crate) async fn connect(&mut self) -> Option<Transport> {
        loop {
            let pause = self.pause.take().unwrap_or_default();
            let attempt = async {
                tokio::time::sleep(pause).await;
                Transport::connect(&self.config).await
            };
            let stop = self.stop.clone();
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                result = attempt => result,
            };
            match result {
                Ok(transport) => {
                    self.generation += 1;
                    return Some(transport);
                }
                Err(error) => self.on_failed(error),
            }
        }
    }

    /// The session is complete: everything is declared and subscribed.
    pub(crate) fn on_connected(&mut self) {
        if std::mem::replace(&mut self.had_session, true) {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.connected_at = Some(Instant::now());
        (self.last_error, self.logged_at) = (None, None);
        tracing::info!(
            broker.url = %self.config.redacted_url(),
            connection = %self.config.connection_name,
            generation = self.generation,
            "Connected to the broker."
        );
        self.state.send_replace(LinkState::Connected { generation: self.generation });
    }

    pub(crate) fn on_blocked(&self, reason: String) {
        tracing::warn!(connection = %self.config.connection_name, reason, "The broker takes no messages from us.");
        self.state.send_replace(LinkState::Blocked { generation: self.generation, reason });
    }

    pub(crate) fn on_unblocked(&self) {
        tracing::info!(connection = %self.config.connection_name, "The broker takes messages again.");
        self.state.send_replace(LinkState::Connected { generation: self.generation });
    }

    /// A session ended or could not be prepared, or an attempt to connect failed.
    pub(crate) fn on_failed(&mut self, error: LinkError) {
        let was_connected = self.connected_at.take();
        // A session that ended as soon as it began must not be followed by the next one at full speed. One that
        // outlasted the shortest pause was worth it: on a line that breaks every second, backing off would leave
        // nothing but pauses.
        if was_connected.is_some_and(|at| at.elapsed() >= self.config.reconnect_min) {
            self.backoff = backoff(&self.config);
            self.attempts = 0;
        } else {
            self.attempts += 1;
        }
        // The pause is not slept here: whoever drives the link has a session to clear up first.
        self.pause = self.backoff.next().or(Some(self.config.reconnect_max));
        self.log_failure(&error, was_connected.is_some());
        self.last_error = Some(error.clone());
        self.state.send_replace(LinkState::Connecting { attempts: self.attempts, last_error: Some(error) });
    }

    pub(crate) fn on_stopped(&self) {
        self.state.send_replace(LinkState::Stopped);
    }

    fn log_failure(&mut self, reason: &LinkError, was_connected: bool) {
        let connection = &self.config.connection_name;
        let reason_is_new = self.last_error.as_ref() != Some(reason);
        let quiet = self.logged_at.is_some_and(|at| at.elapsed() < STILL_DOWN_LOG_EVERY);
        if was_connected {
            tracing::warn!(%connection, generation = self.generation, %reason, "Lost the connection to the broker.");
        } else if reason_is_new || !quiet {
            tracing::warn!(%connection, attempts = self.attempts, %reason, "Not connected to the broker; trying again.");
        } else {
            return;
        }
        self.logged_at = Some(Instant::now());
    }
}

fn backoff(config: &LinkConfig) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(config.reconnect_min)
        .with_max_delay(config.reconnect_max / 2) // jitter may add as much again
        .with_factor(2.0)
        .with_jitter() // so that a thousand workers do not come back in step
        .without_max_times()
        .build()
}
