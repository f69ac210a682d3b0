//! Reading a request's body within its limits of size and time.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::problem::{Code, Problem};

/// The largest body, in bytes: parameters of 256 KiB, written with escapes, and the rest of a submission.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a body may take to come in. A caller with 20 kB/s can still send the largest.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// How much of a body that is too large is read and thrown away, in bytes, so that a caller that writes
/// before it reads gets its answer and not a broken connection.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// The JSON text of a request.
///
/// # Errors
///
/// The [`Problem`] to answer: not declared as JSON, too large, too slow, or broken off.
pub(super) async fn read_json(request: Request) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let found = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("send application/json, not {}", found.unwrap_or("a body without content-type")),
        ));
    }
    read(&parts.headers, body).await
}

/// `application/json`, or any type that is written as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared: Option<usize> = declared.and_then(|length| length.parse().ok());
    // A caller that asks first, or means to send far too much, is refused before it sends.
    let asks_first = headers.contains_key(header::EXPECT);
    if declared.is_some_and(|length| length > DISCARDED_BYTES_MAX || (asks_first && length > BODY_BYTES_MAX))
    {
        return Err(too_large());
    }
    let deadline = Instant::now() + BODY_TIME_MAX;
    let mut stream = body.into_data_stream();
    let mut read = Vec::with_capacity(declared.unwrap_or_default().min(BODY_BYTES_MAX));
    loop {
        let chunk = tokio::time::timeout_at(deadline, stream.next()).await.map_err(|_| too_slow())?;
        match chunk {
            None => return Ok(read.into()),
            Some(Err(_)) => {
                return Err(Problem::new(Code::UnreadableBody, "the body broke off before its end"));
            }
            Some(Ok(chunk)) if read.len() + chunk.len() > BODY_BYTES_MAX => {
                discard(stream, read.len() + chunk.len()).await;
                return Err(too_large());
            }
            Some(Ok(chunk)) => read.extend_from_slice(&chunk),
        }
    }
}

async fn discard(mut stream: BodyDataStream, mut read_bytes: usize) {
    let rest = async {
        while read_bytes < DISCARDED_BYTES_MAX {
            let Some(Ok(chunk)) = stream.next().await else { return };
            read_bytes += chunk.len();
        }
    };
    // Whoever is slower than this gets a broken connection after all.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, rest).await;
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, format!("at most {BODY_BYTES_MAX} bytes are read"))
}

fn too_slow() -> Problem {
    Problem::new(Code::BodyTimeout, format!("the body did not come within {} s", BODY_TIME_MAX.as_secs()))
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
        let problem = read(&HeaderMap::new(), Body::from_stream(endless)).await.unwrap_err();
        assert_eq!(problem.code(), Code::BodyTimeout);
    }
}
