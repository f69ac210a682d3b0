//! `crewcall submit --batch`: many jobs, one submission in JSON per line.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use crewcall_proto::numbers::changed_numbers;
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use tokio::{
    fs::File,
    io::{AsyncRead, stdin},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::{
    api::{BatchOutcome, Problem},
    arguments::SubmitArguments,
    client::{Client, ClientError},
    commands::{batch_ends::Ends, submit::labels},
    exit::{Exit, Failure},
    output::{Format, print, print_jsonl, print_message},
};

/// How many jobs are submitted in one request. Enough that requests do not count, few enough that ids are
/// printed while a long file is read.
const REQUEST_JOBS_MAX: usize = 1_000;
/// How long the lines of one request may be together, in bytes, before the last: below what the backend reads.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// The longest line, in bytes: more than any submission that the backend takes.
const LINE_BYTES_MAX: usize = 512 * 1024;
/// How long jobs wait for company when the lines come slowly.
const LINGER: Duration = Duration::from_millis(200);
/// How often a request is sent while others have the backend's places for batches.
const TURNS_MAX: usize = 20;
/// The longest pause before the next try.
const TURN_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Submits one job per line and prints their ids, in order. What is refused is told on standard error. With `--wait` it
/// stays until all have ended.
///
/// # Errors
///
/// When the lines cannot be read, or the backend or standard output fails us. What was printed is accepted.
pub(crate) async fn run(client: &Client, origin: &str, arguments: &SubmitArguments) -> Result<Exit, Failure> {
    let input: Box<dyn AsyncRead + Send + Unpin> = match origin {
        "-" => Box::new(stdin()),
        path => Box::new(File::open(path).await.map_err(|error| unreadable(path, &error.to_string()))?),
    };
    let additions = Additions { labels: labels(&arguments.labels)?, priority: arguments.priority };
    let format = arguments.output.unwrap_or(Format::Name);
    // Listens before anything can end.
    let mut ends = match arguments.wait {
        Some(_) => Some(Ends::listen(client).await?),
        None => None,
    };
    let lines = FramedRead::new(input, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    let mut requests = Requests::of(lines, origin, additions);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while let Some(request) = requests.next().await? {
        let outcome = submit(client, &request.body).await;
        let outcome = outcome.map_err(|error| interrupted(error, accepted.len(), &request.numbers))?;
        refused += tell(&outcome, &request.numbers, format)?;
        accepted.extend(outcome.results.iter().filter_map(|answer| answer.id.clone()));
    }
    if accepted.is_empty() && refused == 0 {
        let what = name(origin);
        return Err(Failure::Usage(format!("{what} has no lines; write one submission per line, {EXAMPLE}")));
    }
    let refusals = if refused > 0 { format!(", {refused} refused") } else { String::new() };
    print_message(&format!("{} accepted{refusals}", accepted.len()));
    let ended = match &mut ends {
        Some(ends) => {
            let limit = arguments.wait.flatten().map(Duration::from_secs);
            ends.wait_for(accepted, limit, arguments.cancel_on_interrupt).await?
        }
        None => Exit::Done,
    };
    Ok(if refused > 0 { Exit::Usage } else { ended })
}

/// What is added to every line that does not say it itself.
#[derive(Debug, Default)]
struct Additions {
    labels: Map<String, Value>,
    priority: Option<u8>,
}

impl Additions {
    /// The line with them. What cannot be written again as it was stays as it is, and is refused for that.
    fn to(&self, line: String) -> String {
        let is_nothing = self.labels.is_empty() && self.priority.is_none();
        if is_nothing || !changed_numbers(line.as_bytes(), "", 1).is_empty() {
            return line;
        }
        let Ok(Value::Object(mut submission)) = serde_json::from_str(&line) else { return line };
        if let Some(priority) = self.priority {
            submission.entry("priority").or_insert_with(|| priority.into());
        }
        if !self.labels.is_empty()
            && let Value::Object(labels) = submission.entry("labels").or_insert_with(|| Map::new().into())
        {
            for (name, value) in &self.labels {
                labels.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        Value::Object(submission).to_string()
    }
}

/// Waits for its turn when the backend has its hands full; nothing of the request is stored then.
async fn submit(client: &Client, body: &str) -> Result<BatchOutcome, ClientError> {
    let turn = |error: &ClientError| match error {
        ClientError::Problem(problem) => problem.code == "too-many-batches",
        ClientError::Unreachable { .. } | ClientError::Broker(_) | ClientError::Strange { .. } => false,
    };
    let pauses = ExponentialBuilder::default().with_max_delay(TURN_PAUSE_MAX).with_jitter();
    (|| client.submit_batch(body.to_owned()))
        .retry(pauses.with_max_times(TURNS_MAX))
        .sleep(sleep)
        .when(turn)
        .await
}

const EXAMPLE: &str = r#"such as {"type": "test.echo", "parameters": {"text": "hello"}}"#;

/// The lines of one request.
struct Request {
    /// One submission per line.
    body: String,
    /// The number of each line in the input, from 1.
    numbers: Vec<usize>,
}

/// Puts lines together to requests.
struct Requests<'a, S> {
    lines: S,
    origin: &'a str,
    /// The number of the last line that was read.
    number: usize,
    /// What was read and did not fit: a line, or why there are no more.
    carry: Option<Result<(usize, String), Failure>>,
    ended: bool,
    additions: Additions,
}

impl<'a, S: Stream<Item = Result<String, LinesCodecError>> + Unpin> Requests<'a, S> {
    /// Nothing is read yet.
    fn of(lines: S, origin: &'a str, additions: Additions) -> Self {
        Self { lines, origin, number: 0, carry: None, ended: false, additions }
    }

    /// The next request: full, or what came within [`LINGER`] of its first line, or the rest.
    async fn next(&mut self) -> Result<Option<Request>, Failure> {
        let mut request = Request { body: String::new(), numbers: Vec::new() };
        let mut deadline = None;
        while request.numbers.len() < REQUEST_JOBS_MAX {
            let read = match (self.carry.take(), deadline) {
                (Some(read), _) => read.map(Some),
                (None, None) => self.line().await,
                (None, Some(deadline)) => match timeout_at(deadline, self.line()).await {
                    Ok(read) => read,
                    Err(_) => break,
                },
            };
            let (number, line) = match read {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(failure) if request.numbers.is_empty() => return Err(failure),
                // What was read before is submitted first.
                Err(failure) => {
                    self.carry = Some(Err(failure));
                    break;
                }
            };
            if !request.numbers.is_empty() && request.body.len() + line.len() > REQUEST_BYTES_MAX {
                self.carry = Some(Ok((number, line)));
                break;
            }
            request.body.push_str(&line);
            request.body.push('\n');
            request.numbers.push(number);
            deadline.get_or_insert_with(|| Instant::now() + LINGER);
        }
        Ok((!request.numbers.is_empty()).then_some(request))
    }

    /// The next line that is not blank, with its number. Dropping the future loses nothing.
    async fn line(&mut self) -> Result<Option<(usize, String)>, Failure> {
        while !self.ended {
            match self.lines.next().await {
                Some(Ok(line)) => {
                    self.number += 1;
                    if !line.trim().is_empty() {
                        return Ok(Some((self.number, self.additions.to(line))));
                    }
                }
                Some(Err(error)) => return Err(self.bad_line(&error)),
                None => self.ended = true,
            }
        }
        Ok(None)
    }

    fn bad_line(&self, error: &LinesCodecError) -> Failure {
        let reason = match error {
            LinesCodecError::MaxLineLengthExceeded => format!(
                "line {} is longer than {LINE_BYTES_MAX} bytes; larger data travels by reference",
                self.number + 1
            ),
            LinesCodecError::Io(error) => format!("line {}: {error}", self.number + 1),
        };
        unreadable(self.origin, &reason)
    }
}

/// Prints the ids, and on standard error what was refused; in JSON both, with the number of the line. Returns how many
/// were refused.
fn tell(outcome: &BatchOutcome, numbers: &[usize], format: Format) -> Result<usize, Failure> {
    let (mut told, mut refusals) = (Vec::new(), Vec::new());
    for answer in &outcome.results {
        let number = numbers.get(answer.index).copied().unwrap_or_default();
        match (&answer.id, &answer.problem) {
            (Some(id), _) => told.push(id.clone()),
            (None, Some(problem)) => refusals.push(refusal(number, problem)),
            (None, None) => refusals.push(format!("line {number}: refused without a reason")),
        }
        if matches!(format, Format::Json | Format::Jsonl) {
            let mut raw = answer.raw.clone();
            if let Some(fields) = raw.as_object_mut() {
                fields.remove("index");
                fields.insert("line".to_owned(), number.into());
            }
            print_jsonl(&raw)?;
        }
    }
    if !told.is_empty() && !matches!(format, Format::Json | Format::Jsonl) {
        print(&told.join("\n"))?;
    }
    if !refusals.is_empty() {
        print_message(&refusals.join("\n"));
    }
    Ok(refusals.len())
}

/// `line 3: /priority: 10 is more than 9 [invalid-submission]`; in terms of the JSON that the user wrote.
fn refusal(number: usize, problem: &Problem) -> String {
    let mistakes: Vec<String> = problem
        .errors
        .iter()
        .map(|mistake| match mistake.pointer.as_str() {
            "" => mistake.message.clone(),
            pointer => format!("{pointer}: {}", mistake.message),
        })
        .collect();
    let text = if mistakes.is_empty() {
        problem.detail.trim_end_matches('.').to_owned()
    } else {
        mistakes.join("; ")
    };
    format!("line {number}: {text} [{}]", problem.code)
}

/// Says what became of the lines when a request failed.
fn interrupted(error: ClientError, accepted: usize, numbers: &[usize]) -> Failure {
    let (first, last) =
        (numbers.first().copied().unwrap_or_default(), numbers.last().copied().unwrap_or_default());
    let fate =
        if error.is_about_the_request() { "were refused together" } else { "may have been accepted or not" };
    print_message(&format!(
        "{accepted} jobs were accepted; lines {first} to {last} {fate}, and nothing after them was sent"
    ));
    error.into()
}

fn unreadable(origin: &str, reason: &str) -> Failure {
    Failure::Usage(format!("cannot read {}: {reason}", name(origin)))
}

fn name(origin: &str) -> String {
    if origin == "-" { "standard input".to_owned() } else { format!("'{origin}'") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn requests(text: &str) -> Result<Vec<Request>, Failure> {
        let lines = FramedRead::new(text.as_bytes(), LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        let mut requests = Requests::of(lines, "-", Additions::default());
        let mut all = Vec::new();
        while let Some(request) = requests.next().await? {
            all.push(request);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_keep_their_numbers() {
        let all = requests("{\"a\":1}\n\n  \n{\"b\":2}\r\n{\"c\":3}").await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].body, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
        assert_eq!(all[0].numbers, [1, 4, 5]);
    }

    #[tokio::test]
    async fn requests_are_bounded_and_lose_no_line() {
        let many = requests(&"{}\n".repeat(REQUEST_JOBS_MAX + 1)).await.unwrap();
        assert_eq!(
            many.iter().map(|request| request.numbers.len()).collect::<Vec<_>>(),
            [REQUEST_JOBS_MAX, 1]
        );
        let long = "x".repeat(REQUEST_BYTES_MAX / 2);
        let large = requests(&format!("{long}\n{long}\n{long}\n")).await.unwrap();
        assert_eq!(large.iter().flat_map(|request| request.numbers.clone()).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(large.iter().all(|request| request.body.len() <= REQUEST_BYTES_MAX + 2));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_lines_are_not_kept_waiting() {
        let slow = futures_util::stream::unfold(0, |number| async move {
            sleep(LINGER * 2 / 3).await;
            (number < 4).then(|| (Ok("{}".to_owned()), number + 1))
        });
        let mut requests = Requests::of(slow.boxed_local(), "-", Additions::default());
        let mut numbers = Vec::new();
        while let Some(request) = requests.next().await.unwrap() {
            numbers.push(request.numbers);
        }
        assert!(numbers.len() > 1, "{numbers:?}");
        assert_eq!(numbers.concat(), [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_refused() {
        let text = format!("{{}}\n{}", "x".repeat(LINE_BYTES_MAX + 1));
        let lines = FramedRead::new(text.as_bytes(), LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        let mut requests = Requests::of(lines, "-", Additions::default());
        let before = requests.next().await.unwrap().unwrap();
        assert_eq!(before.numbers, [1], "what was read before is submitted");
        let failure = requests.next().await.err().unwrap();
        assert!(failure.to_string().contains("line 2 is longer than"), "{failure}");
    }

    #[test]
    fn what_is_given_for_all_is_added_where_it_is_not_said() {
        let labels =
            labels(&[("run".to_owned(), "7".to_owned()), ("team".to_owned(), "x".to_owned())]).unwrap();
        let additions = Additions { labels, priority: Some(9) };
        let added = [
            r#"{"type":"t"}"#,
            r#"{"type":"t","priority":1,"labels":{"team":"y"}}"#,
            r#"{"type":"t","parameters":{"n":18446744073709551616}}"#,
            r#"{"type":"t","labels":7}"#,
            "no JSON",
        ]
        .map(|line| additions.to(line.to_owned()));
        insta::assert_snapshot!(added.join("\n"));
        assert_eq!(
            Additions::default().to(r#"{ "type" : 1e2 }"#.to_owned()),
            r#"{ "type" : 1e2 }"#,
            "untouched"
        );
    }

    #[test]
    fn refusals_name_the_line_and_the_place() {
        let outcome: BatchOutcome = serde_json::from_value(json!({"accepted": 1, "refused": 2, "results": [
            {"index": 0, "status": 201, "id": "0192e4a0-0000-7000-8000-000000000001"},
            {"index": 1, "status": 422, "problem": {"code": "invalid-submission", "detail": "…", "errors": [
                {"pointer": "/priority", "message": "10 is more than 9"}, {"pointer": "", "message": "no"}]}},
            {"index": 2, "status": 400, "problem": {"code": "invalid-json", "detail": "It is not JSON."}}
        ]}))
        .unwrap();
        let numbers = [1, 4, 5];
        let refusals: Vec<String> = outcome
            .results
            .iter()
            .filter_map(|answer| Some(refusal(numbers[answer.index], answer.problem.as_ref()?)))
            .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
