//! A receiver that does as it is told, byte for byte: no library of HTTP would be as sick as some of them have to be.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use crewcall_webhooks::Outcome;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What a receiver got.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line.
    pub(crate) line: String,
    /// Names in small letters, with their values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Ends with the test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Reads requests and answers each with this text.
    pub(crate) async fn answering(text: impl Into<String>) -> Self {
        let text: Arc<str> = text.into().into();
        Self::start(move |mut connection| {
            let text = Arc::clone(&text);
            async move {
                // Whoever hangs up early has what they wanted.
                let _hung_up = connection.write_all(text.as_bytes()).await;
            }
        })
        .await
    }

    /// Reads a request, and lets `answer` do with the connection what it likes.
    pub(crate) async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (counter, log) = (Arc::clone(&connections), Arc::clone(&requests));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let (answer, log) = (answer.clone(), Arc::clone(&log));
                open.spawn(async move {
                    let mut connection = BufReader::new(connection);
                    if let Some(request) = read(&mut connection).await {
                        log.lock().unwrap().push(request);
                        answer(connection.into_inner()).await;
                    }
                });
            }
        });
        Self { address, connections, requests, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?key=secret", self.address)
    }

    /// How many connections there were, requests or not.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The one request that came.
    pub(crate) fn request(&self) -> Request {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }

    /// Delivers to this receiver, who is allowed.
    pub(crate) async fn deliver(&self) -> Outcome {
        super::deliver(&self.url(), "127.0.0.1", super::LONG).await
    }
}

/// `None` when the connection ends before the request does, or carries something else.
async fn read(connection: &mut BufReader<TcpStream>) -> Option<Request> {
    let line = read_line(connection).await?;
    let mut headers = Vec::new();
    loop {
        let header = read_line(connection).await?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(Request { line, headers, body })
}

async fn read_line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    // What is no HTTP may have no lines.
    connection.take(16 * 1024).read_until(b'\n', &mut line).await.ok()?;
    Some(String::from_utf8(line).ok()?.strip_suffix("\r\n")?.to_owned())
}
