//! The trace that a message belongs to, as the W3C's Trace Context has it (<https://www.w3.org/TR/trace-context/>).

use std::{fmt, str::FromStr};

/// The header that a trace parent travels in, over HTTP and AMQP.
pub const TRACEPARENT: &str = "traceparent";

/// How long one is, in characters: version, trace id, parent id and flags in hexadecimal digits, with hyphens between.
const LENGTH: usize = 55;

/// The flag of a trace that is kept.
const SAMPLED: u8 = 1;

/// The `traceparent` of a message: `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`, for example.
///
/// Is read from a header's text with [`str::parse`]. What a later version of the format may add is cut off.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceParent(Box<str>);

/// The text is not a `traceparent`. The format says to go on as if there had been none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: 00, a trace id of 32, a parent id of 16 and flags of 2 lowercase hexadecimal digits are expected"
)]
pub struct InvalidTraceParent;

impl TraceParent {
    /// As it stands in a header: 55 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the whole trace: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The id of the span in it that this is about: 16 hexadecimal digits.
    #[must_use]
    pub fn parent_id(&self) -> &str {
        &self.0[36..52]
    }

    /// Whether whoever sent it keeps the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).is_ok_and(|flags| flags & SAMPLED != 0)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let (known, more) = text.split_at_checked(LENGTH).ok_or(InvalidTraceParent)?;
        let fields: Vec<&str> = known.split('-').collect();
        let [version, trace_id, parent_id, flags] = fields[..] else { return Err(InvalidTraceParent) };
        let is_hex = |field: &str, length| {
            field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_set = |id: &str| id.bytes().any(|byte| byte != b'0');
        let ends = match version {
            "ff" => false,
            "00" => more.is_empty(),
            _ => more.is_empty() || more.starts_with('-'),
        };
        let fits = is_hex(version, 2) && is_hex(trace_id, 32) && is_hex(parent_id, 16) && is_hex(flags, 2);
        if !(fits && ends && is_set(trace_id) && is_set(parent_id)) {
            return Err(InvalidTraceParent);
        }
        Ok(Self(format!("00-{trace_id}-{parent_id}-{flags}").into()))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_read_as_the_standard_says() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read: TraceParent = GOOD.parse().unwrap();
        assert_eq!((read.as_str(), read.trace_id()), (GOOD, "4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!((read.parent_id(), read.is_sampled()), ("00f067aa0ba902b7", true));
        for (flags, sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let read: TraceParent = format!("{}{flags}", &GOOD[..LENGTH - 2]).parse().unwrap();
            assert_eq!(read.is_sampled(), sampled, "{read}");
        }
        let later = GOOD.replacen("00", "cc", 1);
        for text in [later.clone(), format!("{later}-what-comes-later")] {
            assert_eq!(text.parse(), Ok(read.clone()), "{text}");
        }
        for text in [
            String::new(),
            "é".repeat(LENGTH),
            GOOD.to_uppercase(),
            GOOD[..LENGTH - 1].to_owned(),
            format!("{GOOD}-00"),
            format!("{later}00"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace('-', "_"),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text}");
        }
    }
}
