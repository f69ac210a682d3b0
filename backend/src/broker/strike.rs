//! Striking attempt tokens out of messages that are quarantined: whoever may read the quarantine must not conclude
//! attempts.
//!
//! What could not be read may be anything, cut off anywhere, so this reads nothing: it looks for what a token looks like,
//! and for what stands behind its name.

/// What a token is overwritten with. The length stays, so that what is kept can still be looked at by its places.
const STRUCK: u8 = b'*';

/// The field that holds a token.
const FIELD: &[u8] = b"attempt_token";

/// How many hexadecimal digits in a row are taken for a token, or for a part of one: more than an id has between its
/// hyphens (12), fewer than what would help to guess the rest of 32.
const DIGITS_MIN: usize = 13;

/// How much is struck out behind the name of the field where the value has no known form: more than a token in any
/// encoding (44 characters of Base64).
const VALUE_BYTES: usize = 48;

/// The marker of 16 bytes of MessagePack's `bin 8`: how some would write 128 bits. It is never in UTF-8.
const BINARY_TOKEN: [u8; 2] = [0xc4, 16];

/// Strikes out whatever may be a token.
pub(super) fn tokens(body: &mut [u8]) {
    strike_runs(body);
    let mut at = 0;
    while let Some(found) = find(body, at, FIELD) {
        at = found + FIELD.len();
        let (from, length) = value(&body[at..]);
        fill(body, at + from, length);
    }
    let mut at = 0;
    while let Some(found) = find(body, at, &BINARY_TOKEN) {
        at = found + BINARY_TOKEN.len();
        fill(body, at, 16);
    }
}

/// Strikes out whatever may be a token in a sentence, which may quote what could not be read.
pub(super) fn tokens_of_text(text: String) -> String {
    let mut bytes = text.into_bytes();
    strike_runs(&mut bytes);
    // Only digits were overwritten, with another character of one byte.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Strikes out long runs of hexadecimal digits; at the end also short ones, which may have been cut off.
fn strike_runs(body: &mut [u8]) {
    let mut at = 0;
    while at < body.len() {
        let digits = body[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits >= DIGITS_MIN {
            fill(body, at, digits);
        }
        at += digits.max(1);
    }
}

/// Where the value begins behind the name of the field, and how long it is.
fn value(rest: &[u8]) -> (usize, usize) {
    match rest {
        // MessagePack: a string or bytes, with their length.
        [marker @ 0xa0..=0xbf, ..] => (1, usize::from(marker & 0x1f)),
        [0xc4 | 0xd9, length, ..] => (2, usize::from(*length)),
        [0xc5 | 0xda, high, low, ..] => (3, usize::from(u16::from_be_bytes([*high, *low]))),
        // JSON: after the quotation mark of the name and a colon, up to what ends a value.
        [b'"', after @ ..] => {
            let opening = after.iter().take_while(|byte| b" \t\r\n:\"[".contains(byte)).count();
            let length = after[opening..].iter().take_while(|byte| !b"\"]}".contains(byte)).count();
            (1 + opening, length)
        }
        _ => (0, VALUE_BYTES),
    }
}

fn fill(body: &mut [u8], from: usize, length: usize) {
    let until = from.saturating_add(length).min(body.len());
    if let Some(struck) = body.get_mut(from..until) {
        struck.fill(STRUCK);
    }
}

fn find(body: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let rest = body.get(from..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "00f1e2d3c4b5a69788796a5b4c3d2e1f";

    fn struck(body: impl Into<Vec<u8>>) -> Vec<u8> {
        let mut body = body.into();
        tokens(&mut body);
        body
    }

    fn struck_text(body: &str) -> String {
        String::from_utf8(struck(body)).unwrap()
    }

    #[test]
    fn a_token_is_struck_out_of_json_and_the_ids_stay() {
        let id = "01920000-0000-7000-8000-00000000abcd";
        let body = format!(r#"{{"job_id":"{id}","attempt_token" : "{TOKEN}","result":NaN}}"#);
        let expected = format!(r#"{{"job_id":"{id}","attempt_token" : "{}","result":NaN}}"#, "*".repeat(32));
        assert_eq!(struck_text(&body), expected);
        // Wherever the body breaks off, nobody learns more than a third of it.
        for end in 0..body.len() {
            let kept = struck_text(&body[..end]);
            assert!(!kept.contains(&TOKEN[..DIGITS_MIN]), "{kept}");
        }
    }

    #[test]
    fn other_ways_to_write_it_are_struck_out_too() {
        for value in [
            r#""APHi08S1ppeIeWpbTD0uHw==""#,
            r"[0,241,226,211,196,181,166,151,136,121,106,91,76,61,46,31]",
            "5003211233998877665544332211",
        ] {
            let kept = struck_text(&format!(r#"{{"attempt_token":{value},"x":1}}"#));
            let value = value.trim_matches(['"', '[', ']']);
            assert!(!kept.contains(&value[..8]), "{kept}");
        }
        let text = tokens_of_text(format!("invalid value \"{TOKEN}\", expected ü"));
        assert_eq!(text, format!("invalid value \"{}\", expected ü", "*".repeat(32)));
    }

    #[test]
    fn a_token_is_struck_out_of_messagepack_as_text_and_as_bytes() {
        let field = [&[0xad], FIELD].concat();
        let bits =
            [0x81, 0xf1, 0xe2, 0xd3, 0xc4, 0xb5, 0xa6, 0x97, 0x88, 0x79, 0x6a, 0x5b, 0x4c, 0x3d, 0x2e, 0x1f];
        let written: [(&[u8], &[u8]); 3] =
            [(&[0xd9, 32], TOKEN.as_bytes()), (&[0xc4, 16], &bits), (&[0xb6], &[b'/'; 22])];
        for (marker, value) in written {
            let body = [&[0x82], &field[..], marker, value, &[0xa1, b'x', 7]].concat();
            let kept = struck(body.clone());
            assert_eq!(kept.len(), body.len());
            assert_eq!(kept[1 + field.len() + marker.len()..][..value.len()], vec![STRUCK; value.len()]);
            assert_eq!(kept[kept.len() - 3..], [0xa1, b'x', 7], "and nothing else");
            for end in 0..body.len() {
                let kept = struck(&body[..end]);
                assert!(
                    !kept
                        .windows(DIGITS_MIN)
                        .any(|window| value.windows(DIGITS_MIN).any(|part| part == window))
                );
            }
        }
        // Without its name, in an array.
        let body = [&[0x92, 0x01, 0xc4, 16], &bits[..]].concat();
        assert_eq!(struck(body)[4..], [STRUCK; 16]);
    }
}
