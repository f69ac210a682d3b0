//! Reading a request's body within its limits of size and time.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::problem::{Problem, ProblemCode};
use crate::domain::excerpt;

/// The largest body, in bytes: parameters of 256 KiB, written with escapes, and the rest of a submission.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a body may take to come in. A caller with 20 kB/s can still send the largest.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// The largest batch, in bytes: 10 000 submissions of 1.6 KiB each, as most are far smaller. It is held in
/// memory while it is stored: see [`super::batch::BATCHES_MAX`].
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much memory a body gets before anything of it has come, in bytes. Most fit.
const FIRST_BYTES: usize = 8 * 1024;

/// How much of a body that is too large is read beyond its limit and thrown away, in bytes, so that a caller that writes
/// before it reads gets its answer and not a broken connection.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// How many bytes of bodies are held in memory at once, batches aside: 64 of the largest. All connections together
/// could bring 4 GiB.
pub(super) const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many bytes of bodies may be held, of requests or of answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// Room for `bytes` at once.
    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Whether there is room for so many bytes.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.0.available_permits() >= bytes
    }

    /// Room for so many bytes more; `None` when there is none. Nobody waits for it: they would keep the room that they
    /// have.
    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).ok()
    }
}

/// A body. Its room is free again when this is dropped.
pub(super) struct Text {
    bytes: Bytes,
    /// None for a batch, which has a place instead.
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The JSON text of a request, unless it is not declared as JSON, too large, too slow, or broken off, or there is no
/// room for it.
pub(super) async fn read_json(room: &BodyBudget, request: Request) -> Result<Text, Problem> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(unsupported(&parts.headers, "application/json"));
    }
    read(&parts.headers, body, BODY_BYTES_MAX, Some(room)).await
}

/// The JSON text of a request that may do without one: empty if it has none.
pub(super) async fn read_optional_json(room: &BodyBudget, request: Request) -> Result<Text, Problem> {
    let (parts, body) = request.into_parts();
    let text = read(&parts.headers, body, BODY_BYTES_MAX, Some(room)).await?;
    if text.is_empty() || is_json(&parts.headers) {
        Ok(text)
    } else {
        Err(unsupported(&parts.headers, "application/json"))
    }
}

/// The body of a request as it is, and its headers: a signature in those is over these bytes, whatever they are declared as.
pub(super) async fn read_signed(
    room: &BodyBudget,
    request: Request,
    bytes_max: usize,
) -> Result<(HeaderMap, Text), Problem> {
    let (parts, body) = request.into_parts();
    let text = read(&parts.headers, body, bytes_max, Some(room)).await?;
    Ok((parts.headers, text))
}

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchForm {
    /// One JSON array.
    Array,
    /// One JSON text on each line.
    Lines,
}

/// A batch, for which the caller has a place.
pub(super) async fn read_batch(request: Request) -> Result<(BatchForm, Text), Problem> {
    let (parts, body) = request.into_parts();
    let form = match essence(&parts.headers).as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => BatchForm::Lines,
        _ if is_json(&parts.headers) => BatchForm::Array,
        _ => return Err(unsupported(&parts.headers, "application/json or application/x-ndjson")),
    };
    read(&parts.headers, body, BATCH_BYTES_MAX, None).await.map(|text| (form, text))
}

/// `application/json`, or any type that is written as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The media type without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unsupported(headers: &HeaderMap, expected: &str) -> Problem {
    let found = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let found = found.unwrap_or("a body without content-type");
    Problem::new(ProblemCode::UnsupportedMediaType, format!("send {expected}, not {}", excerpt(found)))
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    room: Option<&BodyBudget>,
) -> Result<Text, Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: Option<usize> = declared.and_then(|length| length.parse().ok());
    let too_large = || Problem::new(ProblemCode::BodyTooLarge, format!("at most {bytes_max} bytes are read"));
    // A caller that asks first, or means to send far too much, is refused before it sends.
    let asks_first = headers.contains_key(header::EXPECT);
    if declared
        .is_some_and(|length| length > bytes_max + DISCARDED_BYTES_MAX || (asks_first && length > bytes_max))
    {
        return Err(too_large());
    }
    let deadline = Instant::now() + BODY_TIME_MAX;
    let mut stream = body.into_data_stream();
    // What is declared need not come: memory is for what does.
    let mut read = Vec::with_capacity(declared.unwrap_or_default().min(FIRST_BYTES));
    let mut taken: Option<OwnedSemaphorePermit> = None;
    loop {
        let chunk = tokio::time::timeout_at(deadline, stream.next()).await.map_err(|_| too_slow())?;
        match chunk {
            None => return Ok(Text { bytes: read.into(), _room: taken }),
            Some(Err(_)) => {
                return Err(Problem::new(ProblemCode::UnreadableBody, "the body broke off before its end"));
            }
            Some(Ok(chunk)) if read.len() + chunk.len() > bytes_max => {
                discard(stream).await;
                return Err(too_large());
            }
            Some(Ok(chunk)) => {
                // Only for what has come: whoever sends slowly must not keep others from sending.
                match (room.map(|room| room.take(chunk.len())), &mut taken) {
                    (Some(None), _) => {
                        drop(taken);
                        discard(stream).await;
                        return Err(no_room());
                    }
                    (Some(Some(more)), Some(taken)) => taken.merge(more),
                    (Some(more), None) => taken = more,
                    (None, _) => {}
                }
                append(&mut read, &chunk, declared.unwrap_or(bytes_max).min(bytes_max));
            }
        }
    }
}

/// Appends a chunk to what was read. Memory grows as the body does, but never beyond what the body may have.
fn append(read: &mut Vec<u8>, chunk: &[u8], bytes_max: usize) {
    let bytes = read.len() + chunk.len();
    if read.capacity() < bytes {
        let capacity = (2 * read.capacity()).min(bytes_max).max(bytes);
        read.reserve_exact(capacity - read.len());
    }
    read.extend_from_slice(chunk);
}

async fn discard(mut stream: BodyDataStream) {
    let rest = async {
        let mut read_bytes = 0;
        while read_bytes < DISCARDED_BYTES_MAX {
            let Some(Ok(chunk)) = stream.next().await else { return };
            read_bytes += chunk.len();
        }
    };
    // Whoever is slower than this gets a broken connection after all.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, rest).await;
}

fn no_room() -> Problem {
    Problem::new(
        ProblemCode::TooManyBodies,
        format!("{} MiB of requests are being read and stored already", BODIES_BYTES_MAX / 1024 / 1024),
    )
}

fn too_slow() -> Problem {
    Problem::new(
        ProblemCode::BodyTimeout,
        format!("the body did not come within {} s", BODY_TIME_MAX.as_secs()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_several_names() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{media_type}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let read = read(&HeaderMap::new(), Body::from_stream(endless), BODY_BYTES_MAX, None).await;
        assert_eq!(read.map(drop).unwrap_err().code(), ProblemCode::BodyTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_so_many_bodies_and_again_when_they_are_done() {
        let room = BodyBudget::of(BODIES_BYTES_MAX);
        let largest = || Body::from(vec![b' '; BODY_BYTES_MAX]);
        let (headers, places) = (HeaderMap::new(), BODIES_BYTES_MAX / BODY_BYTES_MAX);
        let mut held = Vec::new();
        for _ in 0..places {
            held.push(read(&headers, largest(), BODY_BYTES_MAX, Some(&room)).await.unwrap());
        }
        let refused = read(&headers, largest(), BODY_BYTES_MAX, Some(&room)).await;
        assert_eq!(refused.map(drop).unwrap_err().code(), ProblemCode::TooManyBodies);
        held.pop();
        held.push(read(&headers, largest(), BODY_BYTES_MAX, Some(&room)).await.unwrap());
        assert_eq!(held.len(), places);
    }
}
