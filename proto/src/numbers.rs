//! Numbers that would not arrive as they were sent.
//!
//! JSON has numbers of any length; MessagePack, and most programs that read JSON, have integers of 64 bits and floats of
//! 64 bits. A longer number would become its neighbour on the way, and nobody would be told.

use std::ops::Range;

/// The most significant digits that a 64-bit float can have. A longer number is not one.
const DIGITS_MAX: usize = 767;

/// A number that would change on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedNumber {
    /// The JSON pointer to it.
    pub pointer: String,
    /// As it is written.
    pub number: String,
}

/// What is said of such a number.
pub const ARRIVE: &str = "integers from -9223372036854775808 to 18446744073709551615 and 64-bit floats arrive as they are sent; \
                          write others as a string";

/// The first `count_max` numbers of a JSON text that would change on their way, below the pointer `within`.
///
/// An integer arrives if it fits 64 bits, with or without a sign; `-0` does not, since integers have no negative zero.
/// A fraction, or a number with an exponent, arrives if it is what its 64-bit float is when it is written with as many
/// digits. What is not JSON gets any answer.
#[must_use]
pub fn changed_numbers(json: &[u8], within: &str, count_max: usize) -> Vec<ChangedNumber> {
    let (mut found, mut place, mut at) = (Vec::new(), Place::default(), 0);
    while let Some(&byte) = json.get(at) {
        let end = match byte {
            b'"' => string_end(json, at),
            b'-' | b'0'..=b'9' => number_end(json, at),
            _ => at + 1,
        };
        if matches!(byte, b'-' | b'0'..=b'9') {
            let number = std::str::from_utf8(&json[at..end]).unwrap_or_default();
            if !arrives(number) {
                let pointer = place.pointer(json);
                if pointer == within || pointer.strip_prefix(within).is_some_and(|rest| rest.starts_with('/'))
                {
                    found.push(ChangedNumber { pointer, number: number.to_owned() });
                }
                if found.len() >= count_max {
                    break;
                }
            }
        } else {
            place.pass(byte, at..end);
        }
        at = end;
    }
    found
}

/// Where in a JSON text something stands.
#[derive(Default)]
struct Place {
    /// The arrays and objects around it, the outermost first.
    around: Vec<Around>,
}

enum Around {
    /// An object, and where the last string in it is that may be a key, quotation marks included.
    Object { key: Range<usize>, in_value: bool },
    /// An array, and how many items come before.
    Array { index: usize },
}

impl Place {
    /// Goes on beyond a string or a character of structure.
    fn pass(&mut self, byte: u8, range: Range<usize>) {
        match (byte, self.around.last_mut()) {
            (b'{', _) => self.around.push(Around::Object { key: 0..0, in_value: false }),
            (b'[', _) => self.around.push(Around::Array { index: 0 }),
            (b'}' | b']', _) => {
                self.around.pop();
            }
            (b'"', Some(Around::Object { key, in_value: false })) => *key = range,
            (b':', Some(Around::Object { in_value, .. })) => *in_value = true,
            (b',', Some(Around::Object { in_value, .. })) => *in_value = false,
            (b',', Some(Around::Array { index })) => *index += 1,
            _ => {}
        }
    }

    fn pointer(&self, json: &[u8]) -> String {
        let token = |around: &Around| match around {
            Around::Object { key, .. } => {
                let key: String = serde_json::from_slice(&json[key.clone()]).unwrap_or_default();
                format!("/{}", key.replace('~', "~0").replace('/', "~1"))
            }
            Around::Array { index } => format!("/{index}"),
        };
        self.around.iter().map(token).collect()
    }
}

/// The end of the string that begins at `start`.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

fn number_end(json: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    json[start..].iter().position(|byte| !is_part(byte)).map_or(json.len(), |length| start + length)
}

fn arrives(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return number != "-0" && (number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok());
    }
    let Ok(float) = number.parse::<f64>() else { return false };
    let digits = significant_digits(number);
    if digits.is_empty() {
        return true;
    }
    if digits.len() > DIGITS_MAX || !float.is_finite() {
        return false;
    }
    significant_digits(&format!("{:.*e}", digits.len() - 1, float)) == digits
}

/// The digits without sign, point, exponent, and the zeros around them.
fn significant_digits(number: &str) -> String {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_arrives_if_64_bits_hold_it() {
        for number in [
            "0",
            "7",
            "-7",
            "9223372036854775808",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "-0.0",
            "0e9",
            "1.10",
            "1e2",
            "1E+2",
            "2.5e-8",
            "0.30000000000000004",
            "0.10000000000000001",
            "1.7976931348623157e308",
            "5e-324",
            "9007199254740992.0",
            "18446744073709551616e0",
            "0.1000000000000000055511151231257827021181583404541015625",
        ] {
            assert!(arrives(number), "{number}");
        }
        for number in [
            "-0",
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "9007199254740993.0",
            "3.14159265358979323846",
            "0.12345678901234567890",
            "1e400",
            "-1e400",
            "1e-400",
        ] {
            assert!(!arrives(number), "{number}");
        }
        assert!(!arrives(&format!("0.{}", "3".repeat(100_000))), "in no time");
    }

    #[test]
    fn numbers_that_change_are_found_by_their_pointers() {
        let json = br#" {"a": {"b/c": [1, "2\"", [-0, 3], {"~": 99999999999999999999}], "n": -0}, "b\u0041": 1e999, "ab": -0} "#;
        let found = |within, most| -> Vec<String> {
            changed_numbers(json, within, most).into_iter().map(|changed| changed.pointer).collect()
        };
        assert_eq!(found("", 9), ["/a/b~1c/2/0", "/a/b~1c/3/~0", "/a/n", "/bA", "/ab"]);
        assert_eq!(found("/a", 9), ["/a/b~1c/2/0", "/a/b~1c/3/~0", "/a/n"]);
        assert_eq!(found("/a", 1), ["/a/b~1c/2/0"]);
        assert_eq!(changed_numbers(b"-0", "", 9)[0].number, "-0");
        for broken in [&b"\"\\"[..], b"[}]:,-", b"{\"a\":-", b"]]]", b""] {
            let _ = changed_numbers(broken, "", 9);
        }
    }
}
