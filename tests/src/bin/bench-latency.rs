//! How long a short job takes on an idle installation, against what the same broker takes for the two hops
//! that a job cannot do without: one confirmed persistent order to a quorum queue, one confirmed response,
//! both consumed and acknowledged. The two are measured alternately in one run, so that a slow moment of the
//! machine falls on both.
//!
//! Build everything first, in the same profile: `cargo build --release --workspace`, then
//! `target/release/bench-latency [JOBS]` (300 by default).

use std::{io::Write, time::Duration};

use anyhow::{Context, ensure};
use crewcall_amqp::{
    Consumer, ConsumerEvent, Declaration, Delivery, LinkConfig, MessageProperties, OutboundMessage,
    Publisher, PublisherOptions, Subscription,
};
use e2e::{broker, stack::Stack};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is measured first and thrown away: connections open, caches fill.
const WARM_UP: usize = 20;

/// A round that takes longer than this is broken, not slow.
const ROUND_MAX: Duration = Duration::from_secs(30);

const ORDERS: &str = "bench.orders";
const RESPONSES: &str = "bench.responses";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let jobs: usize =
        std::env::args().nth(1).map_or(Ok(300), |text| text.parse()).context("JOBS is a number")?;
    ensure!(jobs > 0, "JOBS is at least 1");
    let mut stack = Stack::start("bench").await?;
    let _worker = stack.worker(&["test.echo"], 1).await?;
    let mut hops = TwoHops::start(broker::vhost("bench-raw").await?.url).await?;
    let (mut raw, mut whole) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + jobs {
        let hop = timeout(ROUND_MAX, hops.round()).await.context("the broker is stuck")??;
        let job = timeout(ROUND_MAX, one_job(&mut stack)).await.context("the job is stuck")??;
        if round >= WARM_UP {
            raw.push(hop);
            whole.push(job);
        }
    }
    hops.close().await;
    stack.settled().await?;
    report(raw, whole)
}

/// Submits a job and waits until it is completed, as a client would.
async fn one_job(stack: &mut Stack) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let id = stack.submit("test.echo", json!({"text": "x"})).await?;
    let job = stack.api.json(&format!("/v1/jobs/{id}?wait=30")).await?;
    let took = began.elapsed();
    ensure!(job["state"] == "completed", "{job}");
    Ok(took)
}

/// The way of an order and its response through the broker, and nothing else.
struct TwoHops {
    publisher: Publisher,
    orders: mpsc::Receiver<ConsumerEvent>,
    responses: mpsc::Receiver<ConsumerEvent>,
    consumers: [Consumer; 2],
}

impl TwoHops {
    async fn start(url: String) -> anyhow::Result<Self> {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let queues = [ORDERS, RESPONSES].map(|name| Declaration::QuorumQueue {
            name: name.to_owned(),
            delivery_limit: None,
            dead_letter_exchange: None,
            length_max: None,
        });
        let link = LinkConfig::new(url, "bench");
        let options = PublisherOptions::default();
        let publisher = Publisher::start(link.clone(), queues.to_vec(), options, &stop, &tracker);
        timeout(ROUND_MAX, publisher.state().wait_for(crewcall_amqp::LinkState::is_connected)).await??;
        let consume = |queue: &str| {
            let subscription = Subscription {
                queue: queue.to_owned(),
                prefetch: 1,
                tag: queue.to_owned(),
                exclusive: false,
            };
            Consumer::start(link.clone(), Vec::new(), vec![subscription], &stop, &tracker)
        };
        let ((first, orders), (second, responses)) = (consume(ORDERS), consume(RESPONSES));
        Ok(Self { publisher, orders, responses, consumers: [first, second] })
    }

    async fn round(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.publisher.publish(message(ORDERS)).await?;
        let order = delivery(&mut self.orders).await?;
        self.publisher.publish(message(RESPONSES)).await?;
        order.ack().await?;
        let response = delivery(&mut self.responses).await?;
        let took = began.elapsed();
        response.ack().await?;
        Ok(took)
    }

    async fn close(&self) {
        self.publisher.close().await;
        for consumer in &self.consumers {
            consumer.close().await;
        }
    }
}

/// A message of the size of a small order, through the default exchange.
fn message(queue: &str) -> OutboundMessage {
    OutboundMessage {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        body: vec![b'x'; 300].into(),
        properties: MessageProperties { persistent: true, ..MessageProperties::default() },
        mandatory: true,
    }
}

async fn delivery(events: &mut mpsc::Receiver<ConsumerEvent>) -> anyhow::Result<Delivery> {
    loop {
        match events.recv().await.context("the consumer ended")? {
            ConsumerEvent::Delivery(delivery) => return Ok(delivery),
            ConsumerEvent::Up { .. } => {}
            ConsumerEvent::Down { reason, .. } => anyhow::bail!("the consumer lost its session: {reason}"),
        }
    }
}

fn report(mut raw: Vec<Duration>, mut whole: Vec<Duration>) -> anyhow::Result<()> {
    raw.sort_unstable();
    whole.sort_unstable();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} rounds, in milliseconds   median     p95     max", raw.len())?;
    for (name, times) in [("two raw hops", &raw), ("submit → completed", &whole)] {
        let at = |share: f64| milliseconds(times, share);
        writeln!(out, "{name:<28} {:>7.2} {:>7.2} {:>7.2}", at(0.5), at(0.95), at(1.0))?;
    }
    let ratio = milliseconds(&whole, 0.5) / milliseconds(&raw, 0.5);
    writeln!(out, "ratio of the medians         {ratio:>7.2}")?;
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a few hundred"
)]
fn milliseconds(sorted: &[Duration], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}
