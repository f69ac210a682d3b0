//! Answers from somebody who has no right to give them (F39).

use crewcall_amqp::{HeaderValue, MessageProperties, OutboundMessage};
use crewcall_proto::{
    Attempt, AttemptToken, ContentType, ExecutionId, JobId, JobType, MessageKind, Order, Timestamp, Topology,
    WorkerId, encode,
    response::{Completed, ErrorKind, Failed, Held, Progression, ProgressionKind},
};
use e2e::{
    raw_worker::{RawWorker, Taken},
    stack::Stack,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{QUARANTINED_WITHIN, as_float, completed, rows};

/// What the broker is said to have done with a forged order: nothing, or given it up.
const DEATHS: [Option<&str>; 3] = [None, Some("delivery_limit"), Some("rejected")];

/// What a forger says that it answers.
#[derive(Clone, Copy)]
struct Claim {
    job_id: JobId,
    attempt: Attempt,
    token: AttemptToken,
}

/// A worker has an order, and so its token. It says that other jobs completed, failed, are held or got on, in
/// all ways: with a made-up token and with the one that it has, for a job of its own type and of another,
/// under the key of either, for another attempt, for a job that is over and for none; and it forges orders
/// that came back or were given up. All of it is refused and counted, and no row changes. Then the same words
/// with the right tokens end the jobs: it was the token that was missing.
#[tokio::test]
async fn f39_a_forged_answer_changes_nothing() {
    let mut stack = Stack::start("forged").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let over = stack.submit("test.echo", json!({"text": "over"})).await.unwrap();
    stack.api.wait_for_end(&over).await.unwrap();
    let [own_type, other_type] = ["test.forger", "test.victim"].map(|name| JobType::new(name).unwrap());
    let (forger, honest) = (RawWorker::start(&stack.amqp_url), RawWorker::start(&stack.amqp_url));
    let own = running(&mut stack, &forger, &own_type).await;
    let other = running(&mut stack, &honest, &other_type).await;
    let waiting = stack.submit("test.forger", json!({})).await.unwrap();
    stack.api.job_when(&waiting, |job| job["state"] == "dispatched").await.unwrap();

    let first = Attempt::FIRST;
    let mut claims =
        vec![Claim { job_id: own.order.job_id, attempt: first.next(), token: own.order.attempt_token }];
    for job_id in [waiting.parse().unwrap(), other.order.job_id, over.parse().unwrap(), JobId::generate()] {
        for token in [AttemptToken::generate(), own.order.attempt_token] {
            claims.push(Claim { job_id, attempt: first, token });
        }
    }
    let rows_before = rows(&stack);
    let mut forged = 0;
    for claim in &claims {
        for job_type in [&own_type, &other_type] {
            forged += forge_responses(&forger, claim, job_type).await;
        }
        forged += forge_orders(&forger, claim).await;
    }
    let reasons = refused(&stack, forged, || assert_eq!(rows(&stack), rows_before, "I11")).await;

    for (raw_worker, taken) in [(&forger, own), (&honest, other)] {
        let answer = completed(raw_worker, &taken);
        raw_worker.respond(MessageKind::Completed, &taken.order.job_type, &answer).await.unwrap();
        taken.delivery.ack().await.unwrap();
        let job = stack.api.wait_for_end(&taken.order.job_id.to_string()).await.unwrap();
        assert_eq!(job["result"], answer.result, "{job}");
    }
    let last = forger.take(&own_type).await.unwrap();
    forger.respond(MessageKind::Completed, &own_type, &completed(&forger, &last)).await.unwrap();
    last.delivery.ack().await.unwrap();
    let mut found = stack.settle().await.unwrap();
    forger.vanish().await;
    honest.vanish().await;
    found.hold(
        "I11",
        format_args!("{forged} forgeries were refused ({reasons}), {} rows stayed", rows_before.len()),
    );
    found.hold("I5", "the same words with the right tokens ended three jobs");
    found.print("F39 forged answers: other job, other type, wrong token");
}

/// A job of the type that the raw worker runs.
pub(super) async fn running(stack: &mut Stack, raw_worker: &RawWorker, job_type: &JobType) -> Taken {
    raw_worker.announce(job_type).await.unwrap();
    stack.api.served_by(job_type.as_str(), 1).await.unwrap();
    let id = stack.submit(job_type.as_str(), json!({})).await.unwrap();
    let taken = raw_worker.take(job_type).await.unwrap();
    raw_worker.report_start(&taken).await.unwrap();
    stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    taken
}

/// Sends every kind of response, each of an execution of its own. Returns how many.
async fn forge_responses(forger: &RawWorker, claim: &Claim, job_type: &JobType) -> usize {
    let Claim { job_id, attempt, token: attempt_token } = *claim;
    let worker_id = || forger.worker_id.clone();
    let at = Timestamp::from_millis(0);
    let completed = Completed {
        job_id,
        attempt,
        attempt_token,
        execution_id: ExecutionId::generate(),
        worker_id: worker_id(),
        result: json!("forged"),
        events: Vec::new(),
        started_at: at,
        finished_at: at,
    };
    let failed = Failed {
        job_id,
        attempt,
        attempt_token,
        execution_id: ExecutionId::generate(),
        worker_id: worker_id(),
        kind: ErrorKind::Handler,
        code: None,
        message: "forged".to_owned(),
        detail: None,
        redelivered: None,
        retryable: false,
        retry_after_ms: None,
        started_at: None,
        finished_at: at,
    };
    let execution_id = ExecutionId::generate();
    let held = Held { job_id, attempt, attempt_token, execution_id, worker_id: worker_id(), seq: 9, at };
    forger.respond(MessageKind::Completed, job_type, &completed).await.unwrap();
    forger.respond(MessageKind::Error, job_type, &failed).await.unwrap();
    forger.respond(MessageKind::Held, job_type, &held).await.unwrap();
    for kind in [ProgressionKind::Started, ProgressionKind::Progress] {
        let news = progression(claim, kind, worker_id());
        forger.respond(MessageKind::Progression, job_type, &news).await.unwrap();
    }
    5
}

fn progression(claim: &Claim, kind: ProgressionKind, worker_id: WorkerId) -> Progression {
    let Claim { job_id, attempt, token: attempt_token } = *claim;
    Progression {
        job_id,
        attempt,
        attempt_token,
        execution_id: ExecutionId::generate(),
        worker_id,
        seq: u64::MAX,
        kind,
        percent: Some(99),
        message: Some("forged".to_owned()),
        at: Timestamp::from_millis(0),
    }
}

/// Sends an order that is said to have come back, and some that are said to have been given up. Returns how
/// many.
async fn forge_orders(forger: &RawWorker, claim: &Claim) -> usize {
    let names = Topology::default();
    let order = Order {
        protocol: 1,
        job_id: claim.job_id,
        job_type: JobType::new("test.nobody").unwrap(),
        attempt: claim.attempt,
        attempt_token: claim.token,
        max_attempts: 5,
        parameters: serde_json::Map::new(),
        timeout_ms: None,
        expires_at: None,
        created_at: Timestamp::from_millis(0),
    };
    let body = encode(ContentType::Json, &order).unwrap();
    forger.send(&names.unroutable(), "", body.clone(), ContentType::Json.as_str()).await.unwrap();
    for death in DEATHS {
        let header = |(name, text): (&str, &str)| (name.to_owned(), HeaderValue::from(text));
        let headers = death.map(|reason| {
            [("x-first-death-queue", "crewcall.jobs.test.victim"), ("x-first-death-reason", reason)]
                .map(header)
        });
        let properties = MessageProperties {
            content_type: Some(ContentType::Json.as_str().to_owned()),
            headers: headers.into_iter().flatten().collect(),
            ..MessageProperties::default()
        };
        let (exchange, routing_key, body) = (names.dead(), String::new(), body.clone().into());
        let message = OutboundMessage { exchange, routing_key, body, properties, mandatory: true };
        forger.publish(message).await.unwrap();
    }
    1 + DEATHS.len()
}

/// Waits until as many answers were refused, while `nothing_changes`. Returns the reasons.
async fn refused(stack: &Stack, expected: usize, nothing_changes: impl Fn()) -> String {
    const METRIC: &str = "crewcall_responses_stale_total";
    let deadline = Instant::now() + QUARANTINED_WITHIN;
    loop {
        let counted = stack.api.metric(METRIC, "").await.unwrap();
        nothing_changes();
        if (counted - as_float(expected)).abs() < 0.5 {
            break;
        }
        assert!(Instant::now() < deadline, "{counted} of {expected} forgeries were counted");
        sleep(std::time::Duration::from_millis(100)).await;
    }
    let (_, metrics) = stack.api.get("/metrics").await.unwrap();
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(METRIC)?.strip_prefix("{reason=\""));
    samples.map(|sample| sample.replace("\"}", "")).collect::<Vec<_>>().join(", ")
}
