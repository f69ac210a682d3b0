//! A link that is cut without a word is noticed by our own timeouts.

use std::time::Duration;

use bytes::Bytes;
use crewcall_amqp::{LinkState, Published};
use e2e::broker::{Vhost, shared_broker, vhost};
use e2e::proxy::{FaultProxy, Mode};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::support::{Bench, message, publish_until_confirmed, quorum_queue, state, subscription, within};

/// Twice the heartbeat, the operation timeout, and what a busy machine needs on top.
const NOTICED_WITHIN: Duration = Duration::from_secs(2 + 2 + 2);

async fn proxied(purpose: &str, tracker: &TaskTracker) -> (FaultProxy, Vhost) {
    let vhost = vhost(purpose).await.unwrap();
    let (proxy, url) = FaultProxy::before(&vhost.url, tracker).await.unwrap();
    (proxy, Vhost { url, ..vhost })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_with_megabytes_unsent_is_given_up_and_its_messages_get_through_later() {
    let tracker = TaskTracker::new();
    let (proxy, vhost) = proxied("half-open", &tracker).await;
    let bench = Bench::impatient(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;

    proxy.set(Mode::FreezeBoth);
    // 32 MiB: far more than the socket buffers on the way hold.
    let body = Bytes::from(vec![b'x'; 128 * 1024]);
    let publishing = stream::iter(0..256).map(|number| {
        let (publisher, body) = (&publisher, body.clone());
        async move {
            let mut message = message("work", &number.to_string());
            message.body = body;
            publish_until_confirmed(publisher, message).await
        }
    });
    let publishing = publishing.buffer_unordered(256).collect::<Vec<_>>();
    let noticing = async {
        let mut state = publisher.state();
        let lost = timeout(NOTICED_WITHIN, state.wait_for(|state| !state.is_connected())).await;
        lost.expect("the half-open link was not noticed in time").unwrap();
        proxy.set(Mode::Pass);
    };
    let (outcomes, ()) =
        within("publishing over the fault", async { tokio::join!(publishing, noticing) }).await;
    assert_eq!(outcomes, vec![Published::Confirmed; 256]);

    // The socket of the lost session is closed: nothing of it is left once the proxy reads again.
    let only_one = async {
        while proxy.open_connections() != 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the lost connection closing", only_one).await;
    publisher.close().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirms_that_no_longer_arrive_end_the_session() {
    let tracker = TaskTracker::new();
    let (proxy, vhost) = proxied("confirms-lost", &tracker).await;
    let bench = Bench::impatient(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;
    proxy.set(Mode::FreezeToClient);
    let unknown = timeout(NOTICED_WITHIN, publisher.publish(message("work", "1"))).await;
    let error = unknown.expect("the session was not given up in time").unwrap_err();
    assert!(error.is_retryable(), "{error}");
    proxy.set(Mode::Pass);
    let again = publish_until_confirmed(&publisher, message("work", "1"));
    assert_eq!(within("publishing again", again).await, Published::Confirmed);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_consumer_notices_a_half_open_link_in_either_direction() {
    let tracker = TaskTracker::new();
    let (proxy, vhost) = proxied("idle-consumer", &tracker).await;
    let bench = Bench::impatient(&vhost.url);
    let (_consumer, mut events) = bench.consumer(vec![quorum_queue("work")], vec![subscription("work", 1)]);
    let mut generation = events.up().await;
    for mode in [Mode::FreezeBoth, Mode::FreezeToServer, Mode::FreezeToClient] {
        proxy.set(mode);
        let down = timeout(NOTICED_WITHIN, events.down()).await;
        let (ended, reason) = down.unwrap_or_else(|_| panic!("{mode:?} was not noticed in time"));
        assert_eq!(ended, generation, "{reason}");
        proxy.set(Mode::Pass);
        generation = events.up().await;
    }
    bench.finish().await;
}

/// How many of this machine's sockets are connected to `port`.
fn connected_sockets(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let fields = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2].ends_with(&remote) && fields[3] == ESTABLISHED).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sessions_and_failed_attempts_leave_no_socket_behind_while_the_link_is_cut() {
    let tracker = TaskTracker::new();
    let (proxy, vhost) = proxied("sockets", &tracker).await;
    let bench = Bench::impatient(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;
    proxy.set(Mode::FreezeBoth);
    let unanswered = publisher.publish(message("work", "1"));
    let failing = state(
        &publisher,
        "failing again and again",
        |state| matches!(state, LinkState::Connecting { attempts, .. } if *attempts >= 4),
    );
    tokio::join!(failing, async { unanswered.await.unwrap_err() });
    let sockets = connected_sockets(proxy.address().port());
    assert!(sockets <= 1, "{sockets} sockets, and only one attempt at a time");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_sends_heartbeats_but_no_longer_answers_is_given_up() {
    let vhost = vhost("no-answer").await.unwrap();
    let bench = Bench::impatient(&vhost.url);
    let (_consumer, mut events) = bench.consumer(vec![quorum_queue("work")], vec![subscription("work", 1)]);
    let generation = events.up().await;
    let freeze_channels = format!(
        "[sys:suspend(Channel) || Channel <- rabbit_channel:list_local(), \
         rabbit_channel:info(Channel, [vhost]) == [{{vhost, <<\"{}\">>}}]], ok.",
        vhost.name
    );
    shared_broker().await.unwrap().ctl(&["eval", &freeze_channels]).await.unwrap();
    let down = timeout(NOTICED_WITHIN, events.down()).await.expect("not noticed in time");
    assert_eq!(down, (generation, "the broker gave no sign of life within 2s".to_owned()));
    events.up().await;
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_is_not_taken_for_a_dead_one_and_a_reset_one_comes_back() {
    let tracker = TaskTracker::new();
    let (proxy, vhost) = proxied("slow-link", &tracker).await;
    let bench = Bench::impatient(&vhost.url);
    let publisher = bench.publisher(vec![quorum_queue("work")]);
    state(&publisher, "connecting", LinkState::is_connected).await;
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    for number in 0..20 {
        let published = publisher.publish(message("work", &number.to_string())).await;
        assert_eq!(published, Ok(Published::Confirmed));
    }
    assert_eq!(publisher.reconnects(), 0);
    proxy.set(Mode::Pass);
    proxy.reset_all();
    state(&publisher, "noticing the reset", |state| !state.is_connected()).await;
    state(&publisher, "coming back", LinkState::is_connected).await;
    bench.finish().await;
}
