//! Messages that nats-server stores and async-nats cannot parse: it drops the connection, or its task
//! panics (nats-io/nats.rs#1612). They are read as JSON instead.

pub(crate) mod suspect;

use std::str::FromStr;

use async_nats::header::{HeaderName, HeaderValue};

use crate::function::event::Unreadable;

/// Why async-nats could not parse a message with this subject, as JSON has it, and this header block.
pub(crate) fn examine(subject: &str, block: &[u8]) -> Option<Unreadable> {
    let why = if subject.contains(char::REPLACEMENT_CHARACTER) {
        // In JSON, the server writes this character for a byte that is not UTF-8.
        Some("its subject is not UTF-8".to_owned())
    } else {
        wrong_block(block)
    };
    why.map(|why| Unreadable {
        why,
        block: block.to_vec().into(),
    })
}

fn wrong_block(block: &[u8]) -> Option<String> {
    if block.is_empty() {
        return None;
    }
    let Ok(text) = str::from_utf8(block) else {
        return Some("its headers are not UTF-8".to_owned());
    };
    let mut lines = text.lines().peekable();
    // The line may also hold a status, as in answers; the server removes it before it stores a message.
    if lines
        .next()
        .is_none_or(|line| line.trim_end() != "NATS/1.0")
    {
        return Some("its headers do not begin with NATS/1.0".to_owned());
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Some("a line of its headers has no colon".to_owned());
        };
        if HeaderName::from_str(name).is_err() {
            return Some(format!("a header has a name that is none: {name:?}"));
        }
        let mut value = value.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        if HeaderValue::from_str(value.trim()).is_err() {
            return Some(format!("its header {name} has a line break in its value"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::examine;

    #[test]
    fn well_formed_headers_are_readable() {
        for block in [
            &b""[..],
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0\r\nA: 1\r\nA:2\r\nB: \r\n\r\n",
            b"NATS/1.0\r\nA: folded\r\n  line\r\n\r\n",
            "NATS/1.0\r\nA: gr\u{fc}n\r\n\r\n".as_bytes(),
        ] {
            assert!(examine("log.a", block).is_none(), "{block:?}");
        }
    }
}
