//! The backend under a service manager: it says when it is ready, that it lives, and when it ends.

use std::time::Duration;

use e2e::{
    broker,
    process::PATIENCE,
    proxy::{FaultProxy, Mode},
    stack::{ProcessEnvironment, Stack},
    wait,
};
use rustix::process::Signal;
use tokio::{net::UnixDatagram, time::timeout};
use tokio_util::task::TaskTracker;

/// After which time a service manager would end it.
const WATCHDOG: Duration = Duration::from_millis(3_000);

async fn hear(socket: &UnixDatagram, patience: Duration) -> String {
    let mut message = [0; 128];
    let length = timeout(patience, socket.recv(&mut message)).await.expect("a message in time").unwrap();
    String::from_utf8_lossy(&message[..length]).trim().to_owned()
}

#[tokio::test]
async fn a_service_manager_hears_that_the_backend_is_ready_alive_and_ends() {
    let vhost = broker::vhost("service-manager").await.unwrap();
    let (line, url) = FaultProxy::before(&vhost.url, &TaskTracker::new()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let microseconds = WATCHDOG.as_micros().to_string();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", microseconds.as_str())];
    let environment = ProcessEnvironment::variables(&variables);
    let mut stack = Stack::start_in(folder, url, environment).await.unwrap();

    assert_eq!(hear(&socket, WATCHDOG).await, "READY=1");
    stack.api.ready().await.unwrap();
    assert_eq!(hear(&socket, WATCHDOG).await, "WATCHDOG=1");
    // It lives without a broker, too: a restart would not bring that back.
    line.set(Mode::Refuse);
    line.reset_all();
    let is_away = async || stack.api.get("/readyz").await.is_ok_and(|(status, _)| status == 503);
    wait::until("the backend notices that the broker is away", PATIENCE, is_away).await.unwrap();
    for _ in 0..4 {
        assert_eq!(hear(&socket, WATCHDOG).await, "WATCHDOG=1");
    }
    line.set(Mode::Pass);
    stack.api.ready().await.unwrap();

    stack.backend.signal(Signal::TERM).unwrap();
    let mut last = hear(&socket, WATCHDOG).await;
    while last == "WATCHDOG=1" {
        last = hear(&socket, WATCHDOG).await;
    }
    assert_eq!(last, "STOPPING=1");
    stack.backend.wait().await.unwrap();
    stack.restart_backend().await.unwrap();
    stack.settle().await.unwrap();
}
