//! The machine has too little of something: files, memory, time.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use e2e::{
    broker,
    footprint::Footprint,
    process::{PATIENCE, Process, wrapped},
    stack::{ProcessEnvironment, Stack},
};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::attempts::LongAttempts;

/// How many files the backend may have open.
const FILES_MAX: usize = 256;

/// Callers that connect and say nothing: more than there are files for, and as many as the system lets wait besides.
const IDLE_CALLERS: usize = 280;

/// For how long the backend is watched while its files are taken.
const CROWDED_FOR: Duration = Duration::from_secs(20);

/// How much memory the backend may have. Bodies and batches take 192 MiB of it at most; the rest is what the C library
/// loses between buffers that grow, in a build that is not optimised.
const MEMORY_BYTES_MAX: u64 = 768 * 1024 * 1024;

/// How much it may have once the crowd is gone: the C library keeps what it got for large bodies, for the next ones. With
/// `MALLOC_TRIM_THRESHOLD_=131072` it keeps half as much.
const MEMORY_BYTES_AFTER_MAX: u64 = 640 * 1024 * 1024;

/// Large submissions at once, of 1 MiB each: far more than the memory could hold.
const BODIES: usize = 1_000;

/// The largest body that is taken.
const BODY_BYTES: usize = 1024 * 1024;

/// How much of it is the job's text. The rest is white space.
const TEXT_BYTES: usize = 50 * 1024;

/// Batches at once, more than are taken at once.
const BATCHES: usize = 12;

/// The largest batch that is taken.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// White space to fill bodies with.
static SPACE: [u8; 64 * 1024] = [b' '; 64 * 1024];

/// Within which time a caller for whom there is no room is told so: the backend first reads what it throws away.
const SENT_AWAY_WITHIN: Duration = Duration::from_secs(8);

/// How long the backend stands still: longer than a worker may be silent, and so short that the links to the broker
/// survive, whose loss would be an excuse.
const STANDSTILL: Duration = Duration::from_secs(17);

/// How long the long attempts work. What their workers stand still comes on top.
const ATTEMPTS_WORK: Duration = Duration::from_secs(45);

/// How long workers get no processor: less than that.
const WORKERS_STARVE: Duration = Duration::from_secs(10);

/// How often something is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The disk on which the logs are is full, and not that of the database: all goes on, and ends well, without a log.
#[tokio::test]
async fn f111_no_log_can_be_written() {
    let vhost = broker::vhost("f111").await.unwrap();
    let unlogged = ["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"].map(str::to_owned).to_vec();
    let environment = ProcessEnvironment { wrapper: unlogged.clone(), ..ProcessEnvironment::default() };
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, environment).await.unwrap();
    stack.api.ready().await.unwrap();
    let mut command = wrapped(&unlogged, "test-worker", stack.folder()).unwrap();
    command.env("CREWCALL_AMQP_URL", &stack.amqp_url).env("TEST_WORKER_TYPES", "test.echo");
    let mut worker = Process::start("worker", stack.folder(), command).unwrap();
    stack.api.served_by("test.echo", 1).await.unwrap();
    stack.check_resumes("test.echo", json!({"text": "unlogged"})).await.unwrap();
    assert_eq!((stack.backend.log(), worker.log()), (String::new(), String::new()), "there is a log");
    let found = stack.settle().await.unwrap();
    for process in [&mut worker, &mut stack.backend] {
        process.signal(Signal::TERM).unwrap();
        let status = process.wait().await.unwrap();
        assert!(status.success(), "{status}");
    }
    found.print("F111 no log can be written");
}

/// The backend may open 256 files, and 280 callers connect and say nothing. Those that were there before are served all
/// the while, the links to the broker come back although no caller leaves, nothing spins, and callers who come later get
/// their turn because those who say nothing are sent away.
#[tokio::test]
async fn f52_out_of_file_descriptors() {
    let vhost = broker::vhost("f52").await.unwrap();
    let wrapper = vec!["prlimit".to_owned(), format!("--nofile={FILES_MAX}")];
    let environment = ProcessEnvironment { wrapper, ..ProcessEnvironment::default() };
    let mut stack =
        Stack::start_in(tempfile::tempdir().unwrap(), vhost.url.clone(), environment).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 2).await.unwrap();
    let Footprint { descriptors: files_before, computed, .. } = Footprint::of(&stack.backend).unwrap();
    let running = stack.submit("test.sleep", json!({"steps": 20, "step_ms": 250})).await.unwrap();
    let began = Instant::now();
    let idle = join_all((0..IDLE_CALLERS).map(|_| connect(stack.http_listen()))).await;
    let files = Footprint::of(&stack.backend).unwrap().descriptors;
    let close = ["close_all_connections", "--vhost", &vhost.name, "while there are no files"];
    broker::shared_broker().await.unwrap().ctl(&close).await.unwrap();
    let mut submitted = 0;
    while began.elapsed() < CROWDED_FOR {
        stack.submit("test.echo", json!({"text": "one who was here before"})).await.unwrap();
        submitted += 1;
        sleep(LOOK_EVERY).await;
    }
    assert_eq!(stack.api.wait_for_end(&running).await.unwrap()["attempt"], 1);
    stack.api.ready().await.unwrap();
    let computed = Footprint::of(&stack.backend).unwrap().computed - computed;
    assert!(computed < began.elapsed() / 4, "{computed:?} in {:?}: it spins", began.elapsed());
    let newcomer = e2e::api::Api::new(format!("http://{}", stack.http_listen())).unwrap();
    newcomer.ready().await.unwrap();
    let turn = began.elapsed();
    drop(idle);
    let took = stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    let files_after = files_settle(&stack, files_before).await;
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I2",
        format_args!("{submitted} submissions of a caller who was there before were answered with 201"),
    );
    found.hold(
        "I10",
        format_args!("{files_before} files before, {files} of {FILES_MAX} in the crowd, {files_after} after"),
    );
    found.hold("I10", format_args!("{computed:.1?} of processor time in {CROWDED_FOR:?}"));
    found.hold(
        "I14",
        format_args!(
            "a newcomer had its turn after {turn:.1?}; a job done {took:.1?} after the crowd had left"
        ),
    );
    found.print("F52 out of file descriptors");
}

/// Waits until about as many files are open as before.
async fn files_settle(stack: &Stack, before: usize) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let files = Footprint::of(&stack.backend).unwrap().descriptors;
        if files <= before + 8 {
            return files;
        }
        assert!(Instant::now() < deadline, "{files} files are open, {before} were before");
        sleep(LOOK_EVERY).await;
    }
}

/// The backend may use 768 MiB, and callers send 1 GiB of submissions and 192 MiB of batches at the same time, none of
/// which ends before all have been sent. It takes what there is room for, sends the others away for now, and its
/// running job goes on.
#[tokio::test]
async fn f53_out_of_memory() {
    let _turn = crate::faults::processors().await;
    let vhost = broker::vhost("f53").await.unwrap();
    let wrapper = vec!["prlimit".to_owned(), format!("--data={MEMORY_BYTES_MAX}")];
    let environment = ProcessEnvironment { wrapper, ..ProcessEnvironment::default() };
    let mut stack = Stack::start_in(tempfile::tempdir().unwrap(), vhost.url, environment).await.unwrap();
    stack.api.ready().await.unwrap();
    let _worker = stack.worker(&["test.echo", "test.sleep"], 4).await.unwrap();
    let running = stack.submit("test.sleep", json!({"steps": 40, "step_ms": 250})).await.unwrap();
    let before = Footprint::of(&stack.backend).unwrap().resident_bytes;
    let job = json!({"type": "test.echo", "parameters": {"text": "x".repeat(TEXT_BYTES)}}).to_string();
    let small = json!([{"type": "test.echo", "parameters": {"text": "one of a batch"}}]).to_string();
    let listen = stack.http_listen();
    let singles = (0..BODIES).map(|_| Caller::send("/v1/jobs", listen, &job, BODY_BYTES));
    let batches = (0..BATCHES).map(|_| Caller::send("/v1/jobs/batch", listen, &small, BATCH_BYTES));
    let (singles, batches) = tokio::join!(join_all(singles), join_all(batches));
    let crowded = Footprint::of(&stack.backend).unwrap().resident_bytes;
    let finish = |callers: Vec<Caller>| join_all(callers.into_iter().map(Caller::finish));
    let (singles, batches) = tokio::join!(finish(singles), finish(batches));
    let singles = Answers::count(singles, &mut stack);
    let batches = Answers::count(batches, &mut stack);
    assert!(
        singles.taken > 0 && batches.taken > 0,
        "what there is room for is taken: {singles:?} {batches:?}"
    );
    let took = stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap();
    assert_eq!(stack.api.wait_for_end(&running).await.unwrap()["attempt"], 1);
    let after = Footprint::of(&stack.backend).unwrap().resident_bytes;
    assert!(after < MEMORY_BYTES_AFTER_MAX, "{} MiB are in use after the crowd", mib(after));
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I2",
        format_args!(
            "of {BODIES} submissions of 1 MiB: {singles}; of {BATCHES} batches of 16 MiB: {batches}"
        ),
    );
    let (before, crowded, after, most) = (mib(before), mib(crowded), mib(after), mib(MEMORY_BYTES_MAX));
    found.hold(
        "I10",
        format_args!("{before} MiB before, {crowded} of {most} MiB in the crowd, {after} MiB after"),
    );
    found.hold("I14", format_args!("a job was done {took:.1?} after the crowd had been answered"));
    found.print("F53 out of memory");
}

fn mib(bytes: u64) -> u64 {
    bytes / 1024 / 1024
}

/// Somebody who sends a large body, but for its last byte.
struct Caller {
    stream: TcpStream,
    answered: bool,
}

impl Caller {
    /// Sends `text`, and white space until the body has nearly so many bytes.
    async fn send(path: &str, listen: &str, text: &str, bytes: usize) -> Self {
        let mut stream = connect(listen).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{text}"
        );
        let mut rest = bytes - text.len() - 1;
        let mut sent = stream.write_all(head.as_bytes()).await;
        while rest > 0 && sent.is_ok() {
            let piece = rest.min(SPACE.len());
            sent = stream.write_all(&SPACE[..piece]).await;
            rest -= piece;
        }
        // One who is sent away before is not read to the end, which breaks the connection.
        Self { stream, answered: sent.is_err() }
    }

    /// Sends the last byte, unless there is an answer already. Returns what comes back.
    async fn finish(mut self) -> String {
        if !self.answered && timeout(SENT_AWAY_WITHIN, self.stream.readable()).await.is_err() {
            // A caller whose connection is broken reads nothing below.
            let _ = self.stream.write_all(b" ").await;
        }
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Connects, however many others do.
async fn connect(listen: &str) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(listen).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What became of callers.
#[derive(Debug, Default)]
struct Answers {
    taken: usize,
    sent_away: usize,
    cut_off: usize,
}

impl Answers {
    fn count(answers: Vec<String>, stack: &mut Stack) -> Self {
        let mut counted = Self::default();
        for answer in answers {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            match head.split(' ').nth(1) {
                Some("201") => counted.take(&body["id"], stack),
                Some("200") => counted.take(&body["results"][0]["id"], stack),
                Some("503") => {
                    let code = body["code"].as_str().unwrap();
                    assert!(matches!(code, "too-many-bodies" | "too-many-batches"), "{body}");
                    assert!(head.contains("retry-after"), "{head}");
                    counted.sent_away += 1;
                }
                None => counted.cut_off += 1,
                Some(_) => panic!("an answer of another kind: {answer}"),
            }
        }
        counted
    }

    fn take(&mut self, id: &Value, stack: &mut Stack) {
        stack.remember_accepted(id.as_str().unwrap().to_owned());
        self.taken += 1;
    }
}

impl Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { taken, sent_away, cut_off } = self;
        write!(f, "{taken} were taken, {sent_away} were told to come again, {cut_off} were cut off")
    }
}

/// Nobody gets any time. First the backend stands still for longer than a worker may be silent, then the workers for less
/// than that, then both at once, as on a machine that swaps or was suspended. Nobody is charged for it: there is no storm
/// of leases that end when the backend looks at its clock again.
#[tokio::test]
async fn f54_no_time_for_heartbeats() {
    let mut stack = Stack::start("f54").await.unwrap();
    let _worker = stack.worker(&["test.echo"], 1).await.unwrap();
    let attempts = LongAttempts::begin(&mut stack, ATTEMPTS_WORK).await.unwrap();
    let mut slowest = Duration::ZERO;
    for (backend, workers, lasts) in
        [(true, false, STANDSTILL), (false, true, WORKERS_STARVE), (true, true, STANDSTILL)]
    {
        let signal = |signal: Signal| {
            if backend {
                stack.backend.signal(signal).unwrap();
            }
            if workers {
                attempts.signal(signal).unwrap();
            }
        };
        signal(Signal::STOP);
        let began = Instant::now();
        while began.elapsed() < lasts {
            sleep(LOOK_EVERY).await;
        }
        signal(Signal::CONT);
        slowest = slowest.max(stack.check_resumes("test.echo", json!({"text": "resumed"})).await.unwrap());
        attempts.are_running(&stack).await.unwrap();
    }
    attempts.are_uncharged(&stack).await.unwrap();
    let lost = stack.backend.log().lines().filter(|line| line.contains("is lost with its worker")).count();
    let mut found = stack.settle().await.unwrap();
    found.hold(
        "I4",
        format_args!("{lost} leases ended, and both long attempts, one of them held, were charged nothing"),
    );
    found.hold("I14", format_args!("a job was done within {slowest:.1?} after each of 3 standstills"));
    found.print("F54 no time for heartbeats");
}
