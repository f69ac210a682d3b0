//! A receiver of webhooks: keeps what it gets, and answers as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// What a receiver got.
#[derive(Debug, Clone)]
pub struct Received {
    /// Names in small letters, with their values.
    pub headers: BTreeMap<String, String>,
    /// The bytes that were signed.
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Kept {
    received: Mutex<Vec<Received>>,
    /// What is answered next; 200 when nothing is left.
    answers: Mutex<VecDeque<String>>,
}

/// Listens on loopback, and ends with the test.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Kept>,
    /// Answers wait until they are let go.
    held: Arc<Semaphore>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Gives these answers, one after the other, each a whole response of HTTP/1.1; then 200.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn answering(answers: &[&str]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answers = Mutex::new(answers.iter().map(|answer| (*answer).to_owned()).collect());
        let kept = Arc::new(Kept { answers, ..Kept::default() });
        let held = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let mut tasks = JoinSet::new();
        let (keeping, holding) = (Arc::clone(&kept), Arc::clone(&held));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (kept, held) = (Arc::clone(&keeping), Arc::clone(&holding));
                open.spawn(async move {
                    // Whoever hangs up early has what they wanted.
                    let _hung_up = serve(connection, &kept, &held).await;
                });
            }
        });
        Ok(Self { address, kept, held, _tasks: tasks })
    }

    /// From now on answers wait.
    pub fn hold(&self) {
        self.held.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// What waits is answered.
    pub fn let_go(&self) {
        self.held.add_permits(1_000);
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its URL, with something in it that should not be told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/in?key=hidden-key", self.address)
    }

    /// What it got so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.kept.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(connection: TcpStream, kept: &Kept, held: &Semaphore) -> anyhow::Result<()> {
    let mut connection = BufReader::new(connection);
    let received = read(&mut connection).await?;
    kept.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    let answer = kept.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    held.acquire().await?.forget();
    let ok = || "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    connection.write_all(answer.unwrap_or_else(ok).as_bytes()).await?;
    connection.shutdown().await?;
    Ok(())
}

async fn read(connection: &mut BufReader<TcpStream>) -> anyhow::Result<Received> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    loop {
        line.clear();
        connection.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").context("the request says how long it is")?.parse()?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    Ok(Received { headers, body })
}
