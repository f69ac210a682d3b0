//! Who is let in: by which name a request asks for us, and on whose behalf.

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::server::{Options, PATIENCE, Server, answer, problem};

const OURS: &str = "crewcall.example.org";

/// The status and the whole of the answer to a request written by hand, of which `head` is all but the end.
async fn asked(server: &Server, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("an answer begins with its status"), text)
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused_on_every_route() {
    let server = Server::start().await;
    for path in server.routes() {
        let path = path.replace("{id}", "x").replace("{type}", "x").replace("{number}", "1");
        let (status, text) = asked(&server, &format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n")).await;
        assert_eq!(status, 421, "{path}");
        assert!(text.contains("\"host-not-allowed\""), "{text}");
    }
    let submission = "POST /v1/jobs HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\n\
                      content-type: application/json\r\ncontent-length: 12\r\n";
    assert_eq!(asked(&server, submission).await.0, 421);
    assert_eq!(server.read("/v1/jobs").await["jobs"], json!([]));
    insta::assert_json_snapshot!(
        "host_not_allowed",
        problem(server.get("/v1/jobs").header("host", "evil.example:8080")).await
    );
    server.stop().await;
}

#[tokio::test]
async fn who_is_asked_for_is_an_address_or_localhost_or_in_the_list() {
    let server = Server::start_with(Options { http_hosts: Some(OURS), ..Options::default() }).await;
    for (host, expected) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("10.1.2.3:1", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("[2001:DB8::7]:80", 200),
        ("localhost", 200),
        ("LocalHost:9999", 200),
        ("localhost.", 200),
        ("localhost:", 200),
        ("Crewcall.Example.Org:8080", 200),
        ("crewcall.example.org.", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.localhost", 421),
        ("crewcall.example.org.evil.example", 421),
        ("www.crewcall.example.org", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.1", 421),
        ("0x7f000001", 421),
        ("2130706433", 421),
        ("[fe80::1%25eth0]", 421),
        ("localhost..", 421),
        (".", 421),
        ("", 400),
        ("::1", 400),
        ("[::1", 400),
        ("127.0.0.1:http", 400),
        ("127.0.0.1:65536", 400),
        ("127.0.0.1:1:2", 400),
        ("localhost@evil.example", 400),
        ("evil.example@localhost", 400),
        ("localhost, localhost", 400),
        ("localhost/evil", 400),
        ("local host", 400),
        ("l\u{f6}calhost", 400),
    ] {
        let (status, text) = asked(&server, &format!("GET /livez HTTP/1.1\r\nhost: {host}\r\n")).await;
        assert_eq!(status, expected, "{host:?}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_request_asks_for_one_host_and_says_so_once() {
    let server = Server::start().await;
    for (head, expected) in [
        ("GET /livez HTTP/1.1\r\n", 400),
        ("GET /livez HTTP/1.0\r\n", 400),
        ("GET /livez HTTP/1.0\r\nhost: localhost\r\n", 200),
        ("GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400),
        ("GET /livez HTTP/1.1\r\nhost: localhost\r\nHost: evil.example\r\n", 400),
        // Who sends the whole address means that host, whatever the header says (RFC 9112, section 3.2.2).
        ("GET http://localhost/livez HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\n", 421),
        ("GET http://localhost/livez HTTP/1.1\r\nhost: evil.example\r\n", 421),
        ("GET http://localhost/livez HTTP/1.1\r\n", 400),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n", 421),
    ] {
        let (status, text) = asked(&server, head).await;
        assert_eq!(status, expected, "{head:?}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let server = Server::start().await;
    let own = server.base.clone();
    let other_port = "http://127.0.0.1:1";
    let pause = "/v1/types/image.thumbnail/pause";
    for (headers, expected) in [
        (vec![], 200),
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![("sec-fetch-site", "none")], 200),
        (vec![("sec-fetch-site", "same-origin"), ("origin", own.as_str())], 200),
        (vec![("origin", own.as_str())], 200),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("sec-fetch-site", "")], 403),
        (vec![("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "cross-site"), ("origin", own.as_str())], 403),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", other_port)], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "")], 403),
        (vec![("origin", "file://")], 403),
        (vec![("origin", own.as_str()), ("origin", "https://evil.example")], 403),
    ] {
        let mut request = server.post_empty(pause);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        assert_eq!(answer(request).await.status().as_u16(), expected, "{headers:?}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE] {
        let request = server.client.request(method.clone(), format!("{own}/v1/quarantine"));
        let response = answer(request.header("sec-fetch-site", "cross-site")).await;
        assert_eq!(response.status().as_u16(), 403, "{method}");
    }
    // What only reads is answered: whose page it is for, the browser decides by the headers of the answer.
    let read = answer(server.get("/v1/jobs").header("sec-fetch-site", "cross-site")).await;
    assert_eq!(read.status().as_u16(), 200);
    insta::assert_json_snapshot!(
        "cross_site",
        problem(server.post_empty(pause).header("origin", "https://evil.example")).await
    );
    server.stop().await;
}

#[tokio::test]
async fn an_origin_is_ours_by_scheme_name_and_port() {
    let server = Server::start_with(Options { http_hosts: Some(OURS), ..Options::default() }).await;
    for (host, origin, expected) in [
        (OURS, "http://crewcall.example.org", 404),
        // A proxy in front ends TLS, and leaves the host as it is.
        (OURS, "https://crewcall.example.org", 404),
        ("crewcall.example.org:443", "https://crewcall.example.org", 404),
        ("CREWCALL.example.org:80", "http://crewcall.example.org", 404),
        ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080", 404),
        (OURS, "https://crewcall.example.org:8443", 403),
        ("crewcall.example.org:8080", "http://crewcall.example.org", 403),
        (OURS, "http://www.crewcall.example.org", 403),
        (OURS, "ftp://crewcall.example.org", 403),
    ] {
        let head = format!("POST /v1/workers/x/drain HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\n");
        assert_eq!(asked(&server, &head).await.0, expected, "{host} {origin}");
    }
    server.stop().await;
}

#[tokio::test]
async fn no_answer_is_for_another_site() {
    let server = Server::start().await;
    let preflight = server
        .client
        .request(Method::OPTIONS, format!("{}/v1/jobs", server.base))
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let requests = [
        (preflight, 403),
        (server.client.request(Method::OPTIONS, format!("{}/v1/jobs", server.base)), 204),
        (server.get("/v1/jobs").header("origin", "https://evil.example"), 200),
        (server.get("/livez"), 200),
        (server.get("/metrics"), 200),
        (server.get("/docs/"), 200),
        (server.get("/nothing"), 404),
        (server.get("/v1/jobs").header("host", "evil.example"), 421),
        (server.post_empty("/v1/types/a/pause").header("origin", "https://evil.example"), 403),
    ];
    for (request, expected) in requests {
        let response = answer(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers());
        assert_eq!(status, expected, "{}", response.url());
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{}", response.url());
        let cors = headers.keys().find(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(cors, None, "{}", response.url());
    }
    server.stop().await;
}
