//! What a span is described with.

use std::{borrow::Cow, time::SystemTime};

use crewcall_proto::TraceParent;

/// A span that is to begin.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// What is done, and to what: `process image.resize`. Few names: no ids.
    pub name: String,
    /// How it stands to the others of its trace.
    pub kind: SpanKind,
    /// What it is a part of; without one, a trace of its own begins, if the sampler (`OTEL_TRACES_SAMPLER`) wants it.
    pub parent: Option<&'a TraceParent>,
    /// When it began; `None` for now.
    pub began: Option<SystemTime>,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
}

/// How a span stands to the others of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// Works on a message.
    Consumer,
    /// Anything else.
    Internal,
}

/// A name, and what it has.
pub type Attribute = (&'static str, Value);

/// What an attribute has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}
