//! The headers by which somebody says which version of a workflow they mean to change (RFC 9110, section 13.1).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::problem::{Problem, ProblemCode};

/// Which version a workflow has to have so that it is changed: 0, if there must be none; `None`, if it does not matter.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    match (only(headers, &header::IF_MATCH)?, only(headers, &header::IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some(tag), None) => version_of(tag).map(Some).ok_or_else(|| {
            invalid("If-Match is one version in quotes, as the header ETag had it, such as \"3\"")
        }),
        (None, Some("*")) => Ok(Some(0)),
        (None, Some(_)) => {
            Err(invalid("If-None-Match is *, which means that there must be no such workflow yet"))
        }
        (Some(_), Some(_)) => Err(invalid("send either If-Match or If-None-Match")),
    }
}

/// A version as the header `ETag` has it.
pub(super) fn etag(version: u32) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{version}\""));
    [(header::ETAG, value.expect("digits in quotes fit a header"))]
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default().trim())),
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(invalid(format!("the header {name} is given more than once"))),
    }
}

/// Versions are compared as a whole: a weak tag (`W/"3"`) says less than that.
fn version_of(tag: &str) -> Option<u32> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let version = digits.parse().ok()?;
    (version > 0 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(version)
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidPrecondition, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(given: &[(&str, &str)]) -> Result<Option<u32>, ProblemCode> {
        let header =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        read(&HeaderMap::from_iter(given.iter().map(header))).map_err(|problem| problem.code())
    }

    #[test]
    fn a_version_is_read_as_it_is_told() {
        let told = etag(3)[0].1.to_str().unwrap().to_owned();
        assert_eq!(read_of(&[("if-match", &told)]), Ok(Some(3)));
        assert_eq!(read_of(&[("if-none-match", "*")]), Ok(Some(0)));
        assert_eq!(read_of(&[]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        for tag in ["3", "W/\"3\"", "*", "\"0\"", "\"+3\"", "\"3\", \"4\"", "\"x\"", "\""] {
            assert_eq!(read_of(&[("if-match", tag)]), Err(ProblemCode::InvalidPrecondition), "{tag}");
        }
        assert!(read_of(&[("if-none-match", "\"3\"")]).is_err());
        assert!(read_of(&[("if-match", "\"3\""), ("if-none-match", "*")]).is_err());
    }

    #[test]
    fn a_header_is_given_once() {
        let mut headers = HeaderMap::new();
        for tag in ["\"3\"", "\"4\""] {
            headers.append(header::IF_MATCH, tag.parse().unwrap());
        }
        assert!(read(&headers).is_err());
    }
}
