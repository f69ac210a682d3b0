//! Whose answer it was, when an answer cannot be read.
//!
//! A worker has done its part once its answer is confirmed: nobody will send another. So an answer with a
//! not-a-number in its result, a time with a fraction, or whatever else no reader takes must still end its attempt,
//! and it can: the five fields of an [`Origin`] say which, and its token proves the right to. They are looked for
//! here, and everything else is passed over without being understood. Nothing recurses, so no depth does harm.

use std::str::{self, FromStr};

use rmp::Marker;

use crate::{Attempt, AttemptToken, ExecutionId, JobId, WorkerId, response::Origin};

/// How much of an answer is looked through, in bytes: what RabbitMQ 4 carries by default. The five fields mostly stand
/// in front.
const LOOKED_THROUGH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What JSON text may begin with, although it should not: the byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Origin {
    /// Whose answer `body` is, although it cannot be read as one; `None` if it does not say. Takes JSON and MessagePack,
    /// whatever its content type says: a wrong one may be all that is wrong with it.
    #[must_use]
    pub fn salvage(body: &[u8]) -> Option<Self> {
        let body = body.get(..LOOKED_THROUGH_BYTES_MAX).unwrap_or(body);
        let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body).trim_ascii_start();
        // No map of MessagePack begins with this byte.
        match text.strip_prefix(b"{") {
            Some(rest) => Found::of(Json { rest }),
            None => Found::of(MessagePack::of(body)?),
        }
    }
}

/// A value, as far as it matters here.
enum Scalar<'a> {
    Text(&'a str),
    Number(f64),
    Other,
}

impl Scalar<'_> {
    fn id<T: FromStr>(&self) -> Option<T> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(_) | Self::Other => None,
        }
    }

    /// Some languages have no integers, so `1.0` will do.
    fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Number(number) => {
                // Out of range it saturates, and is not the same number any more.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared below")]
                let whole = *number as u32;
                let is_same = f64::from(whole).total_cmp(number).is_eq();
                Attempt::new(whole).filter(|_| is_same)
            }
            Self::Text(_) | Self::Other => None,
        }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    job_id: Option<JobId>,
    attempt: Option<Attempt>,
    attempt_token: Option<AttemptToken>,
    execution_id: Option<ExecutionId>,
    worker_id: Option<WorkerId>,
}

impl Found {
    /// Looks at one field after the other until all are found.
    fn of<'a>(fields: impl Iterator<Item = (&'a [u8], Scalar<'a>)>) -> Option<Origin> {
        let mut found = Self::default();
        for (name, value) in fields {
            match name {
                b"job_id" => found.job_id = value.id(),
                b"attempt" => found.attempt = value.attempt(),
                b"attempt_token" => found.attempt_token = value.id(),
                b"execution_id" => found.execution_id = value.id(),
                b"worker_id" => found.worker_id = value.id(),
                _ => continue,
            }
            if let Some(origin) = found.origin() {
                return Some(origin);
            }
        }
        None
    }

    fn origin(&self) -> Option<Origin> {
        Some(Origin {
            job_id: self.job_id?,
            attempt: self.attempt?,
            attempt_token: self.attempt_token?,
            execution_id: self.execution_id?,
            worker_id: self.worker_id.clone()?,
        })
    }
}

/// The fields of a JSON object, from behind its opening brace.
struct Json<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Json<'a> {
    type Item = (&'a [u8], Scalar<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_until(|byte| matches!(byte, b'"' | b'}'))?;
        let name = self.text()?;
        self.skip_until(|byte| !byte.is_ascii_whitespace() && byte != b':')?;
        Some((name, self.value()?))
    }
}

impl<'a> Json<'a> {
    fn skip_until(&mut self, is_wanted: impl Fn(u8) -> bool) -> Option<()> {
        let at = self.rest.iter().position(|byte| is_wanted(*byte))?;
        self.rest = &self.rest[at..];
        Some(())
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// Text as it stands there. None of what is looked for needs an escape.
    fn text(&mut self) -> Option<&'a [u8]> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let mut is_escaped = false;
        let end = inside.iter().position(|byte| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        })?;
        self.rest = &inside[end + 1..];
        Some(&inside[..end])
    }

    fn value(&mut self) -> Option<Scalar<'a>> {
        match self.rest.first()? {
            b'"' => self.text().map(text),
            b'[' | b'{' => self.skip_nested().map(|()| Scalar::Other),
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let end = self.rest.iter().position(is_end)?;
                let word = str::from_utf8(self.take(end)?).ok();
                Some(word.and_then(|word| word.parse().ok()).map_or(Scalar::Other, Scalar::Number))
            }
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.skip_until(|byte| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}'))?;
            if self.rest.first() == Some(&b'"') {
                self.text()?;
                continue;
            }
            match self.take(1)? {
                b"[" | b"{" => depth += 1,
                _ => depth -= 1, // it began with an opening bracket, and ends when that is closed
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// The fields of a MessagePack map.
struct MessagePack<'a> {
    rest: &'a [u8],
    fields_left: u64,
}

/// The first MessagePack value in `bytes`, and what follows it; `None` where it breaks off.
pub(crate) fn message_pack_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut value = MessagePack { rest: bytes, fields_left: 0 };
    value.value()?;
    bytes.split_at_checked(bytes.len() - value.rest.len())
}

/// One step into a MessagePack value.
enum Item<'a> {
    Scalar(Scalar<'a>),
    /// So many values follow that belong to it: those of an array, or the names and values of a map.
    Nested(u64),
}

impl<'a> Iterator for MessagePack<'a> {
    type Item = (&'a [u8], Scalar<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.fields_left = self.fields_left.checked_sub(1)?;
        let name = match self.value()? {
            Scalar::Text(name) => name.as_bytes(),
            Scalar::Number(_) | Scalar::Other => b"",
        };
        Some((name, self.value()?))
    }
}

impl<'a> MessagePack<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        let mut map = Self { rest: body, fields_left: 0 };
        match map.item()? {
            Item::Nested(items) => map.fields_left = items / 2,
            Item::Scalar(_) => return None,
        }
        Some(map)
    }

    /// A whole value. Each step takes at least one byte, so it ends.
    fn value(&mut self) -> Option<Scalar<'a>> {
        let mut left = match self.item()? {
            Item::Scalar(scalar) => return Some(scalar),
            Item::Nested(items) => items,
        };
        while left > 0 {
            left -= 1;
            if let Item::Nested(items) = self.item()? {
                left = left.checked_add(items)?;
            }
        }
        Some(Scalar::Other)
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let scalar = match Marker::from_u8(*self.take(1)?.first()?) {
            Marker::FixArray(items) => return Some(Item::Nested(u64::from(items))),
            Marker::FixMap(fields) => return Some(Item::Nested(2 * u64::from(fields))),
            Marker::Array16 => return self.big_endian(2).map(Item::Nested),
            Marker::Array32 => return self.big_endian(4).map(Item::Nested),
            Marker::Map16 => return self.big_endian(2).map(|fields| Item::Nested(2 * fields)),
            Marker::Map32 => return self.big_endian(4).map(|fields| Item::Nested(2 * fields)),
            Marker::FixPos(number) => Scalar::Number(f64::from(number)),
            Marker::U8 | Marker::I8 => self.number(1)?,
            Marker::U16 | Marker::I16 => self.number(2)?,
            Marker::U32 | Marker::I32 => self.number(4)?,
            Marker::U64 | Marker::I64 => self.number(8)?,
            Marker::F32 => Scalar::Number(f32::from_be_bytes(self.take(4)?.try_into().ok()?).into()),
            Marker::F64 => Scalar::Number(f64::from_be_bytes(self.take(8)?.try_into().ok()?)),
            Marker::Null | Marker::True | Marker::False | Marker::FixNeg(_) => Scalar::Other,
            // Old writers have one type for text and bytes.
            Marker::FixStr(bytes) => text(self.take(usize::from(bytes))?),
            Marker::Str8 | Marker::Bin8 => self.text(1)?,
            Marker::Str16 | Marker::Bin16 => self.text(2)?,
            Marker::Str32 | Marker::Bin32 => self.text(4)?,
            // An extension has one more byte for its type.
            Marker::FixExt1 => self.skip(2)?,
            Marker::FixExt2 => self.skip(3)?,
            Marker::FixExt4 => self.skip(5)?,
            Marker::FixExt8 => self.skip(9)?,
            Marker::FixExt16 => self.skip(17)?,
            Marker::Ext8 => self.extension(1)?,
            Marker::Ext16 => self.extension(2)?,
            Marker::Ext32 => self.extension(4)?,
            Marker::Reserved => return None,
        };
        Some(Item::Scalar(scalar))
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn big_endian(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A negative number looks like a huge one, and is not an attempt either way.
    fn number(&mut self, bytes: usize) -> Option<Scalar<'a>> {
        let number = self.big_endian(bytes)?;
        Some(u32::try_from(number).map_or(Scalar::Other, |number| Scalar::Number(number.into())))
    }

    fn text(&mut self, length_bytes: usize) -> Option<Scalar<'a>> {
        let bytes = usize::try_from(self.big_endian(length_bytes)?).ok()?;
        self.take(bytes).map(text)
    }

    fn skip(&mut self, bytes: usize) -> Option<Scalar<'a>> {
        self.take(bytes).map(|_| Scalar::Other)
    }

    fn extension(&mut self, length_bytes: usize) -> Option<Scalar<'a>> {
        let bytes = usize::try_from(self.big_endian(length_bytes)?).ok()?;
        self.skip(bytes.checked_add(1)?)
    }
}

fn text(bytes: &[u8]) -> Scalar<'_> {
    str::from_utf8(bytes).map_or(Scalar::Other, Scalar::Text)
}
