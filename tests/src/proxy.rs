//! A TCP proxy that misbehaves on demand.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// What the proxy does to every connection, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Reads nothing: bytes pile up in the socket buffers, connections stay open.
    FreezeBoth,
    /// Reads nothing from the clients.
    FreezeToServer,
    /// Reads nothing from the server.
    FreezeToClient,
    /// Holds every piece back for a while before passing it on.
    Delay(Duration),
    /// Resets new connections at once. Open ones pass.
    Refuse,
}

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// A running proxy; it ends when this is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    resets: watch::Sender<u64>,
    forgets: watch::Sender<u64>,
    open: Arc<AtomicUsize>,
    _stop: DropGuard,
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl Mode {
    fn freezes(self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => matches!(self, Self::FreezeBoth | Self::FreezeToServer),
            Direction::ToClient => matches!(self, Self::FreezeBoth | Self::FreezeToClient),
        }
    }
}

impl FaultProxy {
    /// Starts a proxy for `upstream` on a free port of 127.0.0.1, passing.
    ///
    /// # Errors
    ///
    /// An error of the system.
    pub async fn start(upstream: SocketAddr, tracker: &TaskTracker) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("binding the proxy")?;
        let address = listener.local_addr()?;
        let (mode, _) = watch::channel(Mode::Pass);
        let (resets, _) = watch::channel(0);
        let (forgets, _) = watch::channel(0);
        let open = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let acceptor = Acceptor {
            upstream,
            mode: mode.subscribe(),
            resets: resets.subscribe(),
            forgets: forgets.subscribe(),
            open: open.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
        };
        tracker.spawn(acceptor.run(listener));
        Ok(Self { address, mode, resets, forgets, open, _stop: stop.drop_guard() })
    }

    /// Starts a proxy for the broker at `url`, passing. Answers it, and the URL that leads through it.
    ///
    /// # Errors
    ///
    /// An error of the system, or a URL without an address and a port.
    pub async fn before(url: &str, tracker: &TaskTracker) -> anyhow::Result<(Self, String)> {
        let (_, rest) = url.split_once('@').context("a broker's URL names a user")?;
        let address = rest.split('/').next().unwrap_or(rest);
        let upstream = address.parse().with_context(|| format!("{address} is not an address and port"))?;
        let proxy = Self::start(upstream, tracker).await?;
        let through = url.replace(address, &proxy.address().to_string());
        Ok((proxy, through))
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to every connection from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Resets all open connections, both ways.
    pub fn reset_all(&self) {
        self.resets.send_modify(|count| *count += 1);
    }

    /// Passes nothing more on the open connections, and says so to neither side: a firewall that has lost its state. New
    /// ones pass.
    pub fn forget_all(&self) {
        self.forgets.send_modify(|count| *count += 1);
    }

    /// How many connections are open. One whose client has gone counts until the proxy reads again and notices.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

struct Acceptor {
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
    resets: watch::Receiver<u64>,
    forgets: watch::Receiver<u64>,
    open: Arc<AtomicUsize>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((client, _)) = accepted else { continue };
            if *self.mode.borrow() == Mode::Refuse {
                reset(&client);
                continue;
            }
            let (mode, mut resets, stop) = (self.mode.clone(), self.resets.clone(), self.stop.clone());
            let mut forgets = self.forgets.clone();
            resets.mark_unchanged();
            forgets.mark_unchanged();
            let (upstream, counted) = (self.upstream, Counted::new(&self.open));
            self.tracker.spawn(async move {
                let _counted = counted;
                let Ok(server) = TcpStream::connect(upstream).await else {
                    reset(&client);
                    return;
                };
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = resets.changed() => {
                        reset(&client);
                        reset(&server);
                    }
                    () = carry_until_forgotten(&client, &server, &mode, &mut forgets) => {}
                }
            });
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes closing the socket send a reset.
fn reset(socket: &TcpStream) {
    // Fails only for a socket that is broken already.
    let _ = socket.set_zero_linger();
}

/// Carries bytes both ways until one side ends, or neither any more.
async fn carry_until_forgotten(
    client: &TcpStream,
    server: &TcpStream,
    mode: &watch::Receiver<Mode>,
    forgets: &mut watch::Receiver<u64>,
) {
    tokio::select! {
        () = carry(client, server, mode) => {}
        // The sockets stay open, and unread.
        _ = forgets.changed() => std::future::pending().await,
    }
}

/// Carries bytes both ways until one side ends.
async fn carry(client: &TcpStream, server: &TcpStream, mode: &watch::Receiver<Mode>) {
    let to_server = pump(client, server, Direction::ToServer, mode.clone());
    let to_client = pump(server, client, Direction::ToClient, mode.clone());
    tokio::select! {
        _ = to_server => {}
        _ = to_client => {}
    }
}

/// Carries bytes one way. While frozen it does not read, and what it has read already it keeps.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    mut mode: watch::Receiver<Mode>,
) -> std::io::Result<()> {
    let mut piece = vec![0_u8; PIECE_BYTES];
    loop {
        thawed(&mut mode, direction).await;
        tokio::select! {
            // A freeze must also hold what is not there yet.
            _ = mode.changed() => continue,
            readable = from.readable() => readable?,
        }
        let bytes = match from.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let delay = match *mode.borrow() {
            Mode::Delay(delay) => delay,
            _ => Duration::ZERO,
        };
        tokio::time::sleep(delay).await;
        thawed(&mut mode, direction).await;
        write_all(to, &piece[..bytes]).await?;
    }
}

/// Waits until the direction is not frozen.
async fn thawed(mode: &mut watch::Receiver<Mode>, direction: Direction) {
    if mode.wait_for(|mode| !mode.freezes(direction)).await.is_err() {
        // The proxy is gone; so will be this connection.
        std::future::pending::<()>().await;
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
