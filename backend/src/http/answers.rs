//! Answers that their callers have not taken yet, within a budget of bytes: somebody who asks and does not read costs
//! the memory of the answer until the connection is closed ([`super::serve::WRITE_IDLE_MAX`]). Decision 0024 says more.

use axum::{
    body::{Body, HttpBody as _, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    HttpState, access,
    body::BodyBudget,
    problem::{Problem, ProblemCode},
};

/// How many bytes of answers are held in memory at once: eight of the largest pages. All connections together could
/// ask for 32 GiB.
pub const ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Answers up to this size, in bytes, need no room, so that health, problems and most jobs are told even when there is
/// none: as many as there are connections take 64 MiB.
pub(super) const SMALL_BYTES_MAX: usize = 16 * 1024;

/// How large the pieces of a page are, in bytes. As each is taken, its room is free again.
const PIECE_BYTES: usize = 64 * 1024;

/// Takes room for an answer, which is free again when its caller has taken it.
///
/// What only reads is refused when there is no room. What changes something is refused before it does: once it has,
/// the caller has to be told, and the answer takes what room there is.
pub(super) async fn hold(
    State(state): State<HttpState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let changes = access::changes(request.method());
    if changes && !state.answers.has(SMALL_BYTES_MAX) {
        return Err(no_room());
    }
    let (parts, body) = next.run(request).await.into_parts();
    // What has no size yet (streams of events, pages in pieces) takes its room itself.
    let Some(bytes) = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()) else {
        return Ok(Response::from_parts(parts, body));
    };
    if bytes <= SMALL_BYTES_MAX {
        return Ok(Response::from_parts(parts, body));
    }
    let room = state.answers.take(bytes);
    if room.is_none() && !changes {
        return Err(no_room());
    }
    let text = to_bytes(body, bytes).await.map_err(|error| Problem::internal(&error))?;
    Ok(Response::from_parts(parts, Body::from(Bytes::from_owner(Held { text, _room: room }))))
}

/// A part of an answer. Its room is free again when this is dropped: when it is sent, or never will be.
struct Held<T> {
    text: T,
    _room: Option<OwnedSemaphorePermit>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

/// JSON that is written piece by piece, so that no page stands in memory twice.
pub(super) struct Pieces {
    room: BodyBudget,
    /// What is written for good.
    written: Vec<Bytes>,
    /// The piece that is being written.
    open: Vec<u8>,
    bytes: usize,
}

impl Pieces {
    /// Nothing yet. Room is taken from `room`.
    pub(super) fn new(room: &BodyBudget) -> Self {
        Self { room: room.clone(), written: Vec::new(), open: Vec::new(), bytes: 0 }
    }

    /// How many bytes are written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.open.len()
    }

    /// Writes punctuation.
    pub(super) fn text(&mut self, text: &str) {
        self.open.extend_from_slice(text.as_bytes());
    }

    /// Writes a value, if there is room for it.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Problem> {
        serde_json::to_writer(&mut self.open, value).map_err(|error| Problem::internal(&error))?;
        if self.open.len() >= PIECE_BYTES { self.close() } else { Ok(()) }
    }

    /// The whole as an answer, if there is room for it.
    pub(super) fn finish(mut self) -> Result<Response, Problem> {
        let body = if self.written.is_empty() {
            // It takes its room like any other answer.
            Body::from(self.open)
        } else {
            self.close()?;
            Body::from_stream(stream::iter(self.written.into_iter().map(Ok::<_, std::convert::Infallible>)))
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn close(&mut self) -> Result<(), Problem> {
        let mut text = std::mem::take(&mut self.open);
        text.shrink_to_fit();
        let room = self.room.take(text.len()).ok_or_else(no_room)?;
        self.bytes += text.len();
        self.written.push(Bytes::from_owner(Held { text, _room: Some(room) }));
        Ok(())
    }
}

/// There is no room for another answer.
pub(super) fn no_room() -> Problem {
    Problem::new(
        ProblemCode::TooManyAnswers,
        format!("{} MiB of answers wait for their callers to read them", ANSWERS_BYTES_MAX / 1024 / 1024),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_in_pieces_is_one_text_and_gives_its_room_back() {
        let room = BodyBudget::of(1024 * 1024);
        let values: Vec<String> = (0..5).map(|_| "x".repeat(50_000)).collect();
        let mut pieces = Pieces::new(&room);
        for (index, value) in values.iter().enumerate() {
            pieces.text(if index == 0 { "[" } else { "," });
            pieces.json(value).unwrap();
        }
        pieces.text("]");
        let (written, response) = (pieces.bytes(), pieces.finish().unwrap());
        assert!(!room.has(1024 * 1024));
        let text = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(text.len(), written);
        assert_eq!(serde_json::from_slice::<Vec<String>>(&text).unwrap(), values);
        assert!(room.has(1024 * 1024), "all of it");
    }

    #[test]
    fn a_page_for_which_there_is_no_room_is_refused() {
        let room = BodyBudget::of(PIECE_BYTES);
        let mut pieces = Pieces::new(&room);
        assert_eq!(pieces.json(&"x".repeat(PIECE_BYTES)).unwrap_err().code(), ProblemCode::TooManyAnswers);
    }
}
