//! Workers that say things twice, a hundred times, too late and in the wrong order.

use crewcall_proto::{
    ExecutionId, JobType, MessageKind, Order, Timestamp,
    response::{Completed, ErrorKind, Failed, Held, Progression, ProgressionKind},
};
use e2e::{
    raw_worker::{RawWorker, Taken},
    stack::{RESUMES_WITHIN, Stack},
    wait::until,
};
use serde_json::{Value, json};

/// How often the same thing is said.
const REPETITIONS: u32 = 100;

/// An installation with a single worker, which says what the test wants.
struct Scene {
    stack: Stack,
    raw_worker: RawWorker,
    job_type: JobType,
}

impl Scene {
    async fn start(purpose: &str) -> Self {
        let stack = Stack::start(purpose).await.unwrap();
        let raw_worker = RawWorker::start(&stack.amqp_url);
        let job_type = JobType::new("test.raw").unwrap();
        raw_worker.announce(&job_type).await.unwrap();
        stack.api.served_by("test.raw", 1).await.unwrap();
        Self { stack, raw_worker, job_type }
    }

    /// A job, of which the worker has the order.
    async fn taken(&mut self) -> (String, Taken) {
        let job = json!({"type": "test.raw", "parameters": {}, "backoff": {"initial_seconds": 1}});
        let id = self.stack.submit_job(job).await.unwrap();
        (id, self.take().await)
    }

    /// The next order.
    async fn take(&self) -> Taken {
        self.raw_worker.take(&self.job_type).await.unwrap()
    }

    async fn completes(&self, order: &Order, execution_id: ExecutionId, result: &str) {
        let completed = Completed {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id,
            worker_id: self.raw_worker.worker_id.clone(),
            result: json!(result),
            events: Vec::new(),
            started_at: Timestamp::from_millis(0),
            finished_at: Timestamp::from_millis(1),
        };
        self.raw_worker.respond(MessageKind::Completed, &self.job_type, &completed).await.unwrap();
    }

    async fn fails(&self, order: &Order, execution_id: ExecutionId) {
        let failed = Failed {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id,
            worker_id: self.raw_worker.worker_id.clone(),
            kind: ErrorKind::Handler,
            code: None,
            message: "it did not work".to_owned(),
            detail: None,
            redelivered: None,
            retryable: true,
            retry_after_ms: None,
            started_at: None,
            finished_at: Timestamp::from_millis(1),
        };
        self.raw_worker.respond(MessageKind::Error, &self.job_type, &failed).await.unwrap();
    }

    /// News of an execution: of its start, when there is no percentage.
    async fn tells(&self, order: &Order, execution_id: ExecutionId, seq: u64, percent: Option<u8>) {
        let progression = Progression {
            job_id: order.job_id,
            attempt: order.attempt,
            attempt_token: order.attempt_token,
            execution_id,
            worker_id: self.raw_worker.worker_id.clone(),
            seq,
            kind: if percent.is_some() { ProgressionKind::Progress } else { ProgressionKind::Started },
            percent,
            message: percent.map(|_| format!("number {seq}")),
            at: Timestamp::from_millis(0),
        };
        self.raw_worker.respond(MessageKind::Progression, &self.job_type, &progression).await.unwrap();
    }

    /// Waits until so many responses were refused for this reason.
    async fn refused(&self, reason: &str, count: u32) {
        let labels = format!("reason=\"{reason}\"");
        let counted = async || self.stack.api.stale(&labels).await.unwrap() >= f64::from(count);
        until("the responses are refused and counted", RESUMES_WITHIN, counted).await.unwrap();
        assert_eq!(self.stack.api.stale(&labels).await.unwrap(), f64::from(count), "no more than {count}");
    }

    async fn job(&self, id: &str) -> Value {
        self.stack.api.job(id).await.unwrap()
    }
}

fn outcomes(job: &Value) -> Vec<&Value> {
    job["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect()
}

/// Two executions of one attempt both begin and both complete, each with a result of its own: the first result counts,
/// the other one is refused and counted.
#[tokio::test]
async fn f30_one_attempt_is_run_twice() {
    let mut scene = Scene::start("f30").await;
    let (id, taken) = scene.taken().await;
    let (first, second) = (ExecutionId::generate(), ExecutionId::generate());
    scene.tells(&taken.order, first, 1, None).await;
    scene.stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    scene.tells(&taken.order, second, 1, None).await;
    scene.completes(&taken.order, first, "first").await;
    let over = scene.stack.api.wait_for_end(&id).await.unwrap();
    scene.completes(&taken.order, second, "second").await;
    scene.refused("terminal", 1).await;
    assert_eq!(scene.job(&id).await, over, "I7: the job is over");
    assert_eq!((&over["result"], outcomes(&over)), (&json!("first"), vec![&json!("completed")]), "{over}");
    taken.delivery.ack().await.unwrap();
    let mut found = scene.stack.settle().await.unwrap();
    found.hold("I3", "2 executions completed the attempt: 1 result was accepted, 1 refused and counted");
    found.print("F30 one attempt run twice");
}

/// A hundred copies of a result conclude a job once, and a hundred copies of an error charge one attempt.
#[tokio::test]
async fn f31_a_response_comes_a_hundred_times() {
    let mut scene = Scene::start("f31").await;
    let (id, taken) = scene.taken().await;
    for _copy in 0..REPETITIONS {
        scene.completes(&taken.order, taken.execution_id, "done").await;
    }
    scene.refused("terminal", REPETITIONS - 1).await;
    assert_eq!(outcomes(&scene.job(&id).await), ["completed"]);
    taken.delivery.ack().await.unwrap();
    drop(taken);

    let (id, taken) = scene.taken().await;
    for _copy in 0..REPETITIONS {
        scene.fails(&taken.order, taken.execution_id).await;
    }
    scene.refused("attempt", REPETITIONS - 1).await;
    let job = scene.job(&id).await;
    assert_eq!((&job["attempt"], outcomes(&job)), (&json!(2), vec![&json!("handler")]), "{job}");
    taken.delivery.ack().await.unwrap();
    drop(taken);
    let taken = scene.take().await;
    scene.completes(&taken.order, taken.execution_id, "done").await;
    let job = scene.stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(outcomes(&job), ["handler", "completed"], "{job}");
    taken.delivery.ack().await.unwrap();
    let mut found = scene.stack.settle().await.unwrap();
    let refused = scene.stack.api.stale("").await.unwrap();
    found.hold("I3", format_args!("{REPETITIONS} results concluded a job once"));
    found.hold(
        "I4",
        format_args!("{REPETITIONS} errors charged one attempt; {refused} copies were refused and counted"),
    );
    found.print("F31 a response sent 100 times");
}

/// The result overtakes everything that was said before it: the job is over, and the start, the progress and the
/// hold that come after it change nothing.
#[tokio::test]
async fn f32_completed_comes_before_started() {
    let mut scene = Scene::start("f32").await;
    let (id, taken) = scene.taken().await;
    let execution = taken.execution_id;
    scene.completes(&taken.order, execution, "done").await;
    let over = scene.stack.api.wait_for_end(&id).await.unwrap();
    scene.tells(&taken.order, execution, 1, None).await;
    scene.tells(&taken.order, execution, 2, Some(10)).await;
    let held = Held {
        job_id: taken.order.job_id,
        attempt: taken.order.attempt,
        attempt_token: taken.order.attempt_token,
        execution_id: execution,
        worker_id: scene.raw_worker.worker_id.clone(),
        seq: 3,
        at: Timestamp::from_millis(0),
    };
    scene.raw_worker.respond(MessageKind::Held, &scene.job_type, &held).await.unwrap();
    scene.refused("terminal", 3).await;
    assert_eq!(scene.job(&id).await, over, "I7: the job is over");
    taken.delivery.ack().await.unwrap();
    let mut found = scene.stack.settle().await.unwrap();
    found.hold("I7", "a start, a progress and a hold after the result were refused and counted: 3");
    found.print("F32 completed before started");
}

/// Progress comes with lower numbers, the same number, a lower percentage, and from an execution that is not at it: what
/// a reader sees of the attempt never goes back.
#[tokio::test]
async fn f32_progress_comes_in_the_wrong_order() {
    let mut scene = Scene::start("f32-progress").await;
    let (id, taken) = scene.taken().await;
    let execution = taken.execution_id;
    let mut seen = Vec::new();
    scene.tells(&taken.order, execution, 1, None).await;
    for (seq, percent, refused) in [(2, 10, 0), (5, 50, 0), (3, 30, 1), (5, 90, 2), (6, 20, 2), (8, 60, 2)] {
        scene.tells(&taken.order, execution, seq, Some(percent)).await;
        let accepted = format!("number {seq}");
        let settled = async || {
            scene.stack.api.stale("reason=\"sequence\"").await.unwrap() >= f64::from(refused)
                && (scene.job(&id).await["progress"]["message"] == accepted || [3, 5].contains(&seq))
        };
        until("the news is accepted or refused", RESUMES_WITHIN, settled).await.unwrap();
        seen.push(scene.job(&id).await["progress"]["percent"].as_u64().unwrap_or_default());
    }
    scene.tells(&taken.order, ExecutionId::generate(), 99, Some(99)).await;
    scene.refused("execution", 1).await;
    scene.refused("sequence", 2).await;
    seen.push(scene.job(&id).await["progress"]["percent"].as_u64().unwrap());
    assert!(seen.is_sorted(), "I8: {seen:?}");
    assert_eq!(seen.last(), Some(&60), "{seen:?}");
    scene.completes(&taken.order, execution, "done").await;
    scene.stack.api.wait_for_end(&id).await.unwrap();
    taken.delivery.ack().await.unwrap();
    let mut found = scene.stack.settle().await.unwrap();
    found.hold(
        "I8",
        format_args!("10, 50, 30, 90, 20, 60 and 99 % were told in disorder, and seen as {seen:?}"),
    );
    found.print("F32 progress in the wrong order");
}

/// The first attempt fails and a second one is under way when the first one's error comes again, and its result, too:
/// nothing is charged twice, and the second attempt makes the result.
#[tokio::test]
async fn f33_an_error_of_the_first_attempt_comes_during_the_second() {
    let mut scene = Scene::start("f33").await;
    let (id, taken) = scene.taken().await;
    let (first, execution) = (taken.order.clone(), taken.execution_id);
    scene.tells(&first, execution, 1, None).await;
    // The start takes another queue than the error, and would be late itself if it were read after it.
    scene.stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    scene.fails(&first, execution).await;
    scene.stack.api.job_when(&id, |job| job["attempt"] == 2).await.unwrap();
    taken.delivery.ack().await.unwrap();
    drop(taken);
    let second = scene.take().await;
    scene.tells(&second.order, second.execution_id, 1, None).await;
    scene.stack.api.job_when(&id, |job| job["state"] == "running").await.unwrap();
    scene.fails(&first, execution).await;
    scene.completes(&first, execution, "too late").await;
    scene.refused("attempt", 2).await;
    let job = scene.job(&id).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("running"), &json!(2)), "{job}");
    assert_eq!(outcomes(&job), ["handler"], "charged once: {job}");
    scene.completes(&second.order, second.execution_id, "done").await;
    let job = scene.stack.api.wait_for_end(&id).await.unwrap();
    assert_eq!(
        (&job["result"], outcomes(&job)),
        (&json!("done"), vec![&json!("handler"), &json!("completed")])
    );
    second.delivery.ack().await.unwrap();
    let mut found = scene.stack.settle().await.unwrap();
    found.hold(
        "I4",
        "an error that came twice charged 1 attempt; 2 late responses of it were refused and counted",
    );
    found.print("F33 an error of attempt 1 during attempt 2");
}
