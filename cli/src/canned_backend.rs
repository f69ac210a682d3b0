//! A backend for tests that gives prepared answers, one for each connection.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::client::Client;

/// It, until it has been asked as often as it has answers.
pub(crate) struct CannedBackend(TcpListener);

impl CannedBackend {
    /// One that listens, and a client of it.
    pub(crate) async fn listen() -> (Self, Client) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        (Self(listener), Client::new(url))
    }

    /// Gives the answers, each made by [`answer`]; an empty one hangs up. Returns the requests: their heads and bodies.
    pub(crate) async fn give<const COUNT: usize>(self, answers: [String; COUNT]) -> [String; COUNT] {
        let mut requests = answers;
        for answer in &mut requests {
            let (mut connection, _) = self.0.accept().await.unwrap();
            let (mut request, mut bytes) = (String::new(), vec![0; 4096]);
            while !is_whole(&request) {
                let read = connection.read(&mut bytes).await.unwrap();
                assert!(read > 0, "hung up within {request}");
                request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
            }
            connection.write_all(answer.as_bytes()).await.unwrap();
            *answer = request;
        }
        requests
    }
}

/// Whether a request is there with all of the body that its head announces.
fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

/// An answer such as `("200 OK", "application/json", "{}")`, after which the connection ends.
pub(crate) fn answer((status, content_type, body): (&str, &str, &str)) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}")
}
