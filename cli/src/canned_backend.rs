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

    /// Gives the answers, each made by [`answer`]; an empty one hangs up. Returns the requests: their heads, and what is read of
    /// their bodies up to `end`.
    pub(crate) async fn give<const COUNT: usize>(
        self,
        answers: [String; COUNT],
        end: &str,
    ) -> [String; COUNT] {
        let mut requests = answers;
        for answer in &mut requests {
            let (mut connection, _) = self.0.accept().await.unwrap();
            let (mut request, mut bytes) = (String::new(), vec![0; 4096]);
            while !request.ends_with(end) {
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

/// An answer such as `("200 OK", "application/json", "{}")`, after which the connection ends.
pub(crate) fn answer((status, content_type, body): (&str, &str, &str)) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}")
}
