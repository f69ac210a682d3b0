//! Submitting many jobs, or publishing many events, with one request, each for itself.

use axum::extract::{Request, State};
use crewcall_proto::JobId;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    HttpState,
    body::{self, BatchForm},
    dto, idempotency,
    json::Json,
    problem::{Problem, ProblemCode},
    request::caller,
    responses::{ANY_BODY, Problems, STORE, of},
    submission,
};
use crate::{
    domain::Submission,
    engine::{Caller, Engine, ports::StoreError},
};

/// The most submissions of one batch.
pub const BATCH_ITEMS_MAX: usize = 10_000;

/// How many batches are read and stored at once: each holds up to [`body::BATCH_BYTES_MAX`].
pub const BATCHES_MAX: usize = 8;

/// How many submissions are stored in one step. Measured: a group commit gains little beyond this.
const CHUNK_ITEMS_MAX: usize = 256;

/// How much text the submissions of one step may have, in bytes: read, they take several times as much.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// How many problems are told of one item: there may be ten thousand items.
const ITEM_PROBLEMS_MAX: usize = 4;

/// Submit many jobs
///
/// A JSON array, or one submission on each line; at most 10 000, and 16 MiB. Each is accepted or refused for
/// itself: one that is not a job does not spoil the rest. The results stand in the order of the items. If the store
/// fails in between, what was stored keeps its id, and the rest says so; a request that fails has stored nothing,
/// unless its `detail` says otherwise.
#[utoipa::path(
    post, path = "/v1/jobs/batch", tag = "jobs", operation_id = "submitJobs",
    request_body(content((Vec<dto::NewJob> = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "A result for each item", body = dto::BatchResult),
        Problems<{ ANY_BODY | STORE | of(&[ProblemCode::InvalidIdempotencyKey, ProblemCode::InvalidBatch, ProblemCode::TooManyBatches]) }>,
    )
)]
pub(super) async fn submit(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<dto::BatchResult>, Problem> {
    let caller = caller(&request);
    let results = store_all(&state, request, Jobs { engine: &state.engine, caller: &caller }).await?;
    let items: Vec<_> = results.into_iter().enumerate().map(|(index, result)| item(index, result)).collect();
    let accepted = items.iter().filter(|item| item.id.is_some()).count();
    Ok(Json(dto::BatchResult { accepted, refused: items.len() - accepted, results: items }))
}

/// What a batch is of.
pub(super) trait Items: Sync {
    /// What is stored.
    type Item: Send;
    /// What is told of one that was.
    type Stored: Send;

    /// Reads the JSON text of one.
    fn read(&self, text: &[u8]) -> Result<Self::Item, Problem>;

    /// Stores some, each for itself. Returns what became of them, in their order.
    fn store(
        &self,
        items: Vec<Self::Item>,
    ) -> impl Future<Output = Result<Vec<Result<Self::Stored, Problem>>, StoreError>> + Send;
}

struct Jobs<'a> {
    engine: &'a Engine,
    caller: &'a Caller,
}

impl Items for Jobs<'_> {
    type Item = Submission;
    type Stored = JobId;

    fn read(&self, text: &[u8]) -> Result<Submission, Problem> {
        submission::read(text, self.engine.now())
    }

    async fn store(&self, items: Vec<Submission>) -> Result<Vec<Result<JobId, Problem>>, StoreError> {
        let answers = self.engine.submit_batch(self.caller, items).await?;
        Ok(answers.into_iter().map(|answer| Ok(answer?.id)).collect())
    }
}

/// Stores the items of a request. Returns what became of them, in their order; or the problem of the store, if it took none.
pub(super) async fn store_all<I: Items>(
    state: &HttpState,
    request: Request,
    items: I,
) -> Result<Vec<Result<I::Stored, Problem>>, Problem> {
    idempotency::refuse_key(request.headers())?;
    let _place = state.batches.try_acquire().map_err(|_| {
        Problem::new(ProblemCode::TooManyBatches, format!("{BATCHES_MAX} batches are being stored already"))
    })?;
    let (form, text) = body::read_batch(request).await?;
    let texts = match form {
        BatchForm::Array => items_of_array(&text)?,
        BatchForm::Lines => items_of_lines(&text)?,
    };
    let mut batch = Batch::new(items);
    for text in texts {
        batch.take(text).await;
    }
    batch.finish().await
}

/// The texts of an array's items. The whole has to be JSON; what the items are is seen later.
fn items_of_array(text: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = (Vec<&'de [u8]>, usize);

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of submissions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let (mut items, mut count) = (Vec::new(), 0);
            while let Some(item) = array.next_element::<&RawValue>()? {
                count += 1;
                if count <= BATCH_ITEMS_MAX {
                    items.push(item.get().as_bytes());
                }
            }
            Ok((items, count))
        }
    }

    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = deserializer.deserialize_seq(Items).and_then(|read| deserializer.end().map(|()| read));
    let (items, count) = read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(
            ProblemCode::InvalidBatch,
            "a batch is an array of submissions; or send one on each line as application/x-ndjson",
        ),
        _ => Problem::new(ProblemCode::InvalidJson, format!("the body is not JSON: {error}")),
    })?;
    check_count(count).map(|()| items)
}

/// The lines that are not empty.
fn items_of_lines(text: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let lines = || text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    check_count(lines().count())?;
    Ok(lines().collect())
}

fn check_count(count: usize) -> Result<(), Problem> {
    if count > BATCH_ITEMS_MAX {
        let detail = format!("a batch has at most {BATCH_ITEMS_MAX} submissions, not {count}: send several");
        return Err(Problem::new(ProblemCode::InvalidBatch, detail));
    }
    Ok(())
}

/// A batch on its way into the store.
struct Batch<I: Items> {
    items: I,
    /// One for each item that was taken; `None` for those of the chunk.
    results: Vec<Option<Result<I::Stored, Problem>>>,
    chunk: Vec<(usize, I::Item)>,
    chunk_bytes: usize,
    /// Whether the store took any chunk.
    stored: bool,
    /// Why nothing more is stored.
    failed: Option<Problem>,
}

impl<I: Items> Batch<I> {
    fn new(items: I) -> Self {
        Self { items, results: Vec::new(), chunk: Vec::new(), chunk_bytes: 0, stored: false, failed: None }
    }

    async fn take(&mut self, text: &[u8]) {
        if let Some(failed) = &self.failed {
            self.results.push(Some(Err(failed.clone())));
            return;
        }
        match self.items.read(text) {
            Ok(item) => {
                self.chunk.push((self.results.len(), item));
                self.chunk_bytes += text.len();
                self.results.push(None);
            }
            Err(problem) => self.results.push(Some(Err(problem))),
        }
        if self.chunk.len() >= CHUNK_ITEMS_MAX || self.chunk_bytes >= CHUNK_BYTES_MAX {
            self.store().await;
        }
    }

    async fn store(&mut self) {
        self.chunk_bytes = 0;
        let (indices, items): (Vec<usize>, Vec<I::Item>) = self.chunk.drain(..).unzip();
        if items.is_empty() {
            return;
        }
        let answers = match self.items.store(items).await {
            Ok(answers) => {
                self.stored |= answers.iter().any(Result::is_ok);
                answers
            }
            Err(error) => {
                let problem = Problem::from(error);
                self.failed = Some(problem.clone());
                indices.iter().map(|_| Err(problem.clone())).collect()
            }
        };
        for (index, answer) in indices.into_iter().zip(answers) {
            if let Some(result) = self.results.get_mut(index) {
                *result = Some(answer);
            }
        }
    }

    async fn finish(mut self) -> Result<Vec<Result<I::Stored, Problem>>, Problem> {
        self.store().await;
        let missing = || Err(Problem::internal(&"an item of a batch has no result"));
        match self.failed {
            Some(problem) if !self.stored => Err(problem),
            _ => Ok(self.results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()),
        }
    }
}

fn item(index: usize, result: Result<JobId, Problem>) -> dto::BatchItem {
    match result {
        Ok(id) => dto::BatchItem { index, status: 201, id: Some(id.to_string()), problem: None },
        Err(problem) => {
            let (status, problem) = refused(&problem);
            dto::BatchItem { index, status, id: None, problem: Some(problem) }
        }
    }
}

/// What is told of an item that was not stored.
pub(super) fn refused(problem: &Problem) -> (u16, dto::BatchProblem) {
    let status = problem.code().status();
    // An item is not a body of its own: whatever is wrong with it, it cannot be processed.
    let status = if status.is_client_error() { 422 } else { status.as_u16() };
    let (code, detail) = (problem.code().as_str(), problem.detail());
    (status, dto::BatchProblem { code, detail, errors: problem.errors(ITEM_PROBLEMS_MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_cut_into_its_items_and_has_to_be_whole() {
        assert_eq!(items_of_array(b" [ {\"a\": [1]} ,7]\n").unwrap(), [&b"{\"a\": [1]}"[..], b"7"]);
        assert_eq!(items_of_array(b"[]").unwrap(), [&b""[..]; 0]);
        let code = |text: &[u8]| items_of_array(text).unwrap_err().code();
        assert_eq!(code(b"[1,]"), ProblemCode::InvalidJson);
        assert_eq!(code(b"[1] 2"), ProblemCode::InvalidJson);
        assert_eq!(code(b"[1"), ProblemCode::InvalidJson);
        assert_eq!(code(b"[\"\xff\"]"), ProblemCode::InvalidJson);
        assert_eq!(code(b"{}"), ProblemCode::InvalidBatch);
        assert_eq!(
            code(format!("[{}1]", "1,".repeat(BATCH_ITEMS_MAX)).as_bytes()),
            ProblemCode::InvalidBatch
        );
    }

    #[test]
    fn lines_are_items_unless_they_are_empty() {
        assert_eq!(items_of_lines(b"\n{}\r\n\n oops \n").unwrap(), [&b"{}"[..], b"oops"]);
        assert!(items_of_lines("1\n".repeat(BATCH_ITEMS_MAX).as_bytes()).is_ok());
        let problem = items_of_lines("1\n".repeat(BATCH_ITEMS_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(problem.code(), ProblemCode::InvalidBatch);
    }
}
