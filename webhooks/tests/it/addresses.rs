//! Whom a webhook may reach.

use crewcall_webhooks::Outcome;

use crate::{LONG, deliver, failure_of, receiver::Receiver};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn our_own_network_is_refused_for_good_whether_by_address_or_by_name() {
    let receiver = Receiver::answering(OK).await;
    let port = receiver.address.port();
    for url in [
        format!("http://localhost:{port}/?key=secret"),
        format!("http://127.0.0.1:{port}/?key=secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/?key=secret"),
        format!("http://2130706433:{port}/?key=secret"),
        "http://169.254.169.254/latest/meta-data/?key=secret".to_owned(),
        "http://[fd00::1]/?key=secret".to_owned(),
    ] {
        let failure = failure_of(deliver(&url, "", LONG).await);
        assert!(failure.permanent, "{url}: {failure:?}");
        assert!(
            failure.reason.contains(
                " is not an address of the public internet; a backend with CREWCALL_WEBHOOK_ALLOW="
            ),
            "{url}: {failure:?}"
        );
        assert!(!failure.reason.contains("secret"), "{failure:?}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_an_operator_opens_is_reached_by_its_address_and_by_its_name() {
    let receiver = Receiver::answering(OK).await;
    let port = receiver.address.port();
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let outcome = deliver(&format!("http://{host}:{port}/"), "127.0.0.0/8", LONG).await;
        assert!(matches!(outcome, Outcome::Delivered { status: 200, .. }), "{host}: {outcome:?}");
    }
    assert_eq!(receiver.connections(), 3);
}
