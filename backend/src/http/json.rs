//! JSON as an answer.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::problem::Problem;

/// How large an answer gets before its buffer has to grow, in bytes: most jobs fit.
const USUAL_BYTES: usize = 2 * 1024;

/// A value, to be told as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        match serde_json::to_writer(&mut text, &self.0) {
            Ok(()) => {
                let json = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, json)], text).into_response()
            }
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}
