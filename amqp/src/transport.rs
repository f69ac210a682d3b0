//! One connection to the broker, and the means to be rid of it.

use std::{
    future::Future,
    net::{Shutdown, SocketAddr},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use lapin::{
    Connection, ConnectionProperties,
    options::BasicQosOptions,
    tcp::{AsyncTcpStream, TLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{LinkConfig, LinkError, error::Reason};

/// One connection to the broker. Dropping it cuts the connection off at once, whatever state it is in: the socket
/// is shut down, so the client library's own thread ends even when megabytes are still unsent.
pub(crate) struct Transport {
    connection: Arc<Connection>,
    /// The watchdog asks on it. It is kept here as well, because a channel that is dropped closes itself, which must
    /// not happen while the connection says goodbye.
    probe: lapin::Channel,
    events: BoxStream<'static, lapin::Event>,
    activity: Activity,
    probe_every: Duration,
    operation_timeout: Duration,
    suspect_timeout: Duration,
    _socket: SocketGuard,
}

/// What the broker says about a whole connection.
pub(crate) enum TransportEvent {
    Blocked(String),
    Unblocked,
    /// The connection is over.
    Lost(Reason),
}

/// Counts what arrives on a connection, so that a slow answer is not mistaken for a dead link.
#[derive(Clone, Default)]
pub(crate) struct Activity(Arc<AtomicU64>);

impl Activity {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Transport {
    /// Connects and shakes hands; within the operation timeout, or not at all.
    pub(crate) async fn connect(config: &LinkConfig) -> Result<Self, LinkError> {
        let uri = config.uri()?;
        if uri.scheme == AMQPScheme::AMQPS {
            // An error means that the program has chosen a provider already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let unreachable = |reason: Reason| {
            LinkError::NotConnected(
                reason.within(|reason| format!("no broker at {}: {reason}", config.address())),
            )
        };
        let socket = SocketGuard::default();
        let handshake = handshake(uri, config, socket.slot());
        let connection = timeout(config.operation_timeout, handshake)
            .await
            .map_err(|_| {
                unreachable(Reason::new(format!("no answer within {:?}", config.operation_timeout)))
            })?
            .map_err(|error| unreachable(Reason::from(&error)))?;
        let events = connection.events_listener().boxed();
        let probe = open_channel(&connection, config.operation_timeout).await?;
        Ok(Self {
            connection: Arc::new(connection),
            probe,
            events,
            activity: Activity::default(),
            probe_every: config.heartbeat,
            operation_timeout: config.operation_timeout,
            suspect_timeout: config.suspect_timeout,
            _socket: socket,
        })
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        self.connection.clone()
    }

    pub(crate) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    /// Something arrived: the link is alive.
    pub(crate) fn note_activity(&self) {
        self.activity.note();
    }

    /// A new channel, within the operation timeout.
    pub(crate) fn open_channel(
        &self,
    ) -> impl Future<Output = Result<lapin::Channel, LinkError>> + Send + 'static {
        let (connection, limit) = (self.connection.clone(), self.operation_timeout);
        async move { open_channel(&connection, limit).await }
    }

    /// The next thing that concerns the whole connection. Cancelling it loses nothing.
    pub(crate) async fn next_event(&mut self) -> TransportEvent {
        loop {
            match self.events.next().await {
                Some(lapin::Event::ConnectionBlocked(reason)) => return TransportEvent::Blocked(reason),
                Some(lapin::Event::ConnectionUnblocked) => return TransportEvent::Unblocked,
                // The error of a single channel comes here too; whoever uses that channel sees it there.
                Some(lapin::Event::Error(error)) if !self.connection.status().connected() => {
                    return TransportEvent::Lost(Reason::from(&error));
                }
                Some(_) => {}
                None => return TransportEvent::Lost(Reason::new("the connection to the broker is closed")),
            }
        }
    }

    /// Asks the broker for a sign of life at every heartbeat and completes, with the reason, when none comes within
    /// the operation timeout. The client library's own heartbeat notices a silent broker, but not one that hears
    /// nothing from us. A suspicion has it asked at once, and leaves it less time.
    ///
    /// A blocked connection is left alone: the broker reads nothing from it, so it cannot answer.
    pub(crate) fn watchdog(&self, suspicion: Arc<Notify>) -> impl Future<Output = Reason> + Send + 'static {
        let (connection, channel, activity) =
            (self.connection.clone(), self.probe.clone(), self.activity.clone());
        let (every, limit, short_limit) = (self.probe_every, self.operation_timeout, self.suspect_timeout);
        async move {
            loop {
                let suspected = suspicion.notified();
                tokio::pin!(suspected);
                let is_suspected = timeout(every, &mut suspected).await.is_ok();
                if connection.status().blocked() {
                    continue;
                }
                let before = activity.count();
                // Nothing consumes on this channel, so its prefetch means nothing: it is the cheapest question that
                // the broker has to answer.
                let options = BasicQosOptions {
                    global: false, // the per-channel form is refused by newer brokers
                };
                let patience = async {
                    if is_suspected || timeout(limit, &mut suspected).await.is_ok() {
                        sleep(short_limit).await;
                        return short_limit;
                    }
                    limit
                };
                let waited = tokio::select! {
                    answer = channel.basic_qos(1, options) => match answer {
                        Ok(()) => continue,
                        Err(error) => return Reason::from(&error),
                    },
                    waited = patience => waited,
                };
                if !connection.status().blocked() && activity.count() == before {
                    return Reason::new(format!("the broker gave no sign of life within {waited:?}"));
                }
            }
        }
    }

    /// Says goodbye properly, within the operation timeout.
    pub(crate) async fn close(self) {
        if self.connection.status().blocked() {
            return; // the broker would not read it
        }
        // Failing to say goodbye changes nothing: dropping the transport cuts the connection.
        let _ = timeout(self.operation_timeout, self.connection.close(200, "OK".into())).await;
    }
}

/// A new channel on `connection`, within `limit`.
pub(crate) async fn open_channel(
    connection: &Connection,
    limit: Duration,
) -> Result<lapin::Channel, LinkError> {
    timeout(limit, connection.create_channel())
        .await
        .map_err(|_| LinkError::Timeout { what: "open a channel".to_owned(), after: limit })?
        .map_err(|error| LinkError::from_client("opening a channel", &error))
}

async fn handshake(uri: AMQPUri, config: &LinkConfig, slot: SocketSlot) -> Result<Connection, lapin::Error> {
    // The library's automatic recovery stays off (its default): it hides an outage from everybody above.
    let properties =
        ConnectionProperties::default().with_connection_name(config.connection_name.as_str().into());
    let limit = config.operation_timeout;
    let addresses = resolve(&uri).await?;
    let runtime = lapin::runtime::default_runtime()?;
    let connector = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            let dial = async {
                let stream = AsyncTcpStream::connect(&runtime, addresses.clone()).await?;
                if let AsyncTcpStream::Plain(socket) = &stream {
                    slot.fill(socket.get_ref())?;
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, TLSConfig::default()).await,
                }
            };
            // This runs on the library's own thread, which would otherwise wait as long as the system does.
            let dialled =
                timeout(limit, dial).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            dialled.map_err(lapin::Error::from)
        },
        properties,
    );
    connector.await
}

async fn resolve(uri: &AMQPUri) -> std::io::Result<Vec<SocketAddr>> {
    let host = uri.authority.host.as_str();
    let found = tokio::net::lookup_host((host, uri.authority.port)).await;
    found
        .map(Iterator::collect)
        .map_err(|error| std::io::Error::other(format!("cannot resolve {host}: {error}")))
}

/// Shuts the connection's socket down when it is dropped, also when that happens before there is a socket.
#[derive(Default)]
struct SocketGuard(SocketSlot);

#[derive(Clone, Default)]
struct SocketSlot(Arc<Mutex<Slot>>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// A second handle of the socket that the client library owns.
    Open(std::net::TcpStream),
    Abandoned,
}

impl SocketGuard {
    fn slot(&self) -> SocketSlot {
        self.0.clone()
    }
}

impl SocketSlot {
    fn fill(&self, socket: &tokio::net::TcpStream) -> std::io::Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Abandoned) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        *slot = Slot::Open(socket.as_fd().try_clone_to_owned()?.into());
        Ok(())
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let mut slot = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Open(socket) = std::mem::replace(&mut *slot, Slot::Abandoned) {
            // Fails only when the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
