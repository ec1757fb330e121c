//! Dead letters whose message does not fit beside the reason. The letter has the first part of the
//! payload; the other parts are stored before it in the dead-letter stream, under the letter's subject
//! and their number.

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};
use serde_json::json;

use super::safety::write_once;
use super::{STREAM, delete};
use crate::error::{Error, Kind, Result};
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{Nats, call, calls};

/// In the letter: how many further parts it has.
const PARTS: &str = "Dead-Letter-Parts";
/// In a part: its number.
const PART: &str = "Dead-Letter-Part";

/// Writes a letter in parts of half the largest message size.
pub(super) async fn write(
    nats: &Nats,
    subject: &str,
    mut headers: HeaderMap,
    payload: &Bytes,
) -> Result<()> {
    let (first, others) = split(payload, (nats.max_payload() / 2).max(1));
    for (n, part) in (1..).zip(&others) {
        let mut headers = HeaderMap::new();
        headers.insert(PART, n.to_string());
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        write_once(nats, &format!("{subject}.{n}"), headers, part.clone()).await?;
    }
    headers.insert(PARTS, others.len().to_string());
    write_once(nats, subject, headers, first).await
}

/// Whether this is a part of a letter, not a letter.
pub(super) fn is_one(raw: &RawMessage) -> Result<bool> {
    Ok(number(raw, PART)?.is_some())
}

/// The whole payload of a letter, given its first part.
pub(super) async fn read(nats: &Nats, letter: &RawMessage, first: Bytes) -> Result<Bytes> {
    let Some(parts) = number(letter, PARTS)? else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    for n in 1..=parts {
        let part = find(nats, letter, n).await?;
        let part = part.ok_or_else(|| {
            let id = letter.seq();
            Error::internal(format!(
                "part {n} of dead letter {id} is missing in {STREAM}"
            ))
        })?;
        whole.extend_from_slice(&part.payload()?);
    }
    Ok(whole.freeze())
}

/// Deletes the further parts of a letter.
pub(super) async fn delete_all(nats: &Nats, letter: &RawMessage) -> Result<()> {
    for n in 1..=number(letter, PARTS)?.unwrap_or_default() {
        if let Some(part) = find(nats, letter, n).await? {
            delete(nats, part.seq()).await?;
        }
    }
    Ok(())
}

async fn find(nats: &Nats, letter: &RawMessage, n: usize) -> Result<Option<RawMessage>> {
    let body = json!({ "last_by_subj": format!("{}.{n}", letter.subject()) });
    match call(nats, &calls::message(STREAM), &body).await {
        Ok(part) => Ok(Some(part)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(raw: &RawMessage, name: &str) -> Result<Option<usize>> {
    let headers = raw.headers()?;
    let found = headers.iter().find(|(found, _)| found == name);
    Ok(found.and_then(|(_, value)| value.parse().ok()))
}

fn split(payload: &Bytes, size: usize) -> (Bytes, Vec<Bytes>) {
    let mut rest = payload.clone();
    let first = rest.split_to(size.min(rest.len()));
    let mut others = Vec::new();
    while !rest.is_empty() {
        others.push(rest.split_to(size.min(rest.len())));
    }
    (first, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_many_as_it_takes() {
        let whole = Bytes::from_static(b"abcdefg");
        for (size, n) in [(1, 6), (2, 3), (3, 2), (7, 0), (8, 0)] {
            let (first, others) = split(&whole, size);
            assert_eq!(others.len(), n, "{size}");
            assert!(others.iter().all(|part| part.len() <= size));
            assert_eq!([&[first][..], &others].concat().concat(), whole);
        }
        assert!(split(&Bytes::new(), 3).1.is_empty());
    }
}
