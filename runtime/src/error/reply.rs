//! Error replies: written for a function's caller, read by a client.

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Error, Kind, Result};

/// ADR-32: the sentence.
pub(crate) const ERROR: &str = "Nats-Service-Error";
/// ADR-32: the number.
pub(crate) const CODE: &str = "Nats-Service-Error-Code";

/// A message may quote the request; this limits the size of the reply.
const MAX_SENTENCE: usize = 512;

/// Writes an error as a reply: two headers, and a body that is never empty (an empty one, sent to
/// a reply subject of the JetStream API, would be a command).
pub(crate) fn write(error: &Error, trace_id: Option<&str>) -> (HeaderMap, Bytes) {
    let code = error.kind().code();
    let sentence = one_line(error.public_message());
    let mut body = json!({ "code": code, "error": sentence });
    if let Some(details) = error.public_details() {
        body["details"] = details.clone();
    }
    if let Some(trace_id) = trace_id {
        body["trace_id"] = Value::from(trace_id);
    }
    let mut headers = HeaderMap::new();
    headers.insert(ERROR, sentence.as_str());
    headers.insert(CODE, code.to_string());
    (headers, Bytes::from(body.to_string()))
}

/// A header's value must not hold line breaks: async-nats panics on them.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SENTENCE)
        .collect();
    line.truncate(line.trim_end().len());
    if line.is_empty() {
        "error".into()
    } else {
        line
    }
}

/// For callers: returns an error if the answer carries the headers of ADR-32.
///
/// # Errors
/// The function's error: the kind of its code, its message and its details.
pub fn check(answer: &async_nats::Message) -> Result<()> {
    let Some(headers) = &answer.headers else {
        return Ok(());
    };
    let (code, sentence) = (headers.get(CODE), headers.get(ERROR));
    if code.is_none() && sentence.is_none() {
        return Ok(());
    }
    let kind = match code.and_then(|code| code.as_str().trim().parse::<u16>().ok()) {
        Some(400) => Kind::BadRequest,
        Some(401) => Kind::Unauthorized,
        Some(403) => Kind::Forbidden,
        Some(404) => Kind::NotFound,
        Some(409) => Kind::Conflict,
        Some(413) => Kind::TooLarge,
        Some(429) => Kind::TooManyRequests,
        Some(503) => Kind::Unavailable,
        Some(504) => Kind::Timeout,
        _ => Kind::Internal,
    };
    let sentence = sentence.map_or("error", |sentence| sentence.as_str());
    let mut error = Error::new(kind, sentence);
    if let Ok(mut body) = serde_json::from_slice::<Value>(&answer.payload)
        && let Some(details) = body.get_mut("details")
    {
        error = error.with_details(details.take());
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_line_bounded_and_has_a_body() {
        let error = Error::bad_request(format!("a\r\nNats-Rollup: all\u{0}{}", "x".repeat(9000)));
        let (headers, payload) = write(&error, None);
        let sentence = headers.get(ERROR).unwrap().as_str();
        assert!(!sentence.contains(['\r', '\n', '\0']));
        assert!(sentence.len() <= MAX_SENTENCE);
        assert_eq!(headers.get(CODE).unwrap().as_str(), "400");
        let body: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(body["code"], 400);
    }

    #[test]
    fn an_empty_sentence_still_says_something() {
        assert_eq!(one_line("\r\n"), "error");
    }
}
