//! W3C trace context: what a function publishes continues the trace of what it was called with.

use async_nats::HeaderMap;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// The size that the specification asks everybody to propagate.
const MAX_STATE: usize = 512;

/// `traceparent` and `tracestate` of a message. A malformed or oversized one counts as absent, since it
/// comes from outside. Baggage is not propagated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceContext {
    parent: Option<String>,
    state: Option<String>,
}

impl TraceContext {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        // Looking for a name makes one first.
        if headers.is_empty() {
            return Self::default();
        }
        let parent = headers
            .get(PARENT)
            .map(|value| value.as_str().trim())
            .filter(|value| is_traceparent(value))
            .map(str::to_owned);
        let state = headers
            .get(STATE)
            .map(|value| value.as_str())
            .filter(|value| parent.is_some() && value.len() <= MAX_STATE && value.is_ascii())
            .map(str::to_owned);
        Self { parent, state }
    }

    /// The context of a trace that this process begins or continues.
    #[cfg(feature = "otel")]
    pub(crate) fn new(parent: String, state: Option<String>) -> Self {
        Self {
            parent: Some(parent),
            state,
        }
    }

    /// Whether there is one at all.
    pub(crate) fn is_some(&self) -> bool {
        self.parent.is_some()
    }

    /// Writes it, unless the message has its own.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if headers.get(PARENT).is_some() {
            return;
        }
        if let Some(parent) = &self.parent {
            headers.insert(PARENT, parent.as_str());
        }
        if let Some(state) = &self.state {
            headers.insert(STATE, state.as_str());
        }
    }

    /// The trace id, 32 hexadecimal digits, for logs and error replies.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.parent.as_deref().and_then(|parent| parent.get(3..35))
    }

    /// Trace id, span id and flags, in hexadecimal digits.
    #[cfg(feature = "otel")]
    pub(crate) fn ids(&self) -> Option<(&str, &str, &str)> {
        let parent = self.parent.as_deref()?;
        Some((parent.get(3..35)?, parent.get(36..52)?, parent.get(53..55)?))
    }

    #[cfg(feature = "otel")]
    pub(crate) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero. Later versions may be longer.
fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |part: &str| part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = value.split('-').collect();
    match parts.as_slice() {
        [version, trace, span, flags] => {
            hex(version, 2)
                && *version != "ff"
                && hex(trace, 32)
                && set(trace)
                && hex(span, 16)
                && set(span)
                && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_one_is_carried_and_a_bad_one_is_absent() {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, GOOD);
        headers.insert(STATE, "a=b");
        let context = TraceContext::of(&headers);
        let mut out = HeaderMap::new();
        context.write(&mut out);
        assert_eq!(out.get(PARENT).unwrap().as_str(), GOOD);
        assert_eq!(out.get(STATE).unwrap().as_str(), "a=b");
        assert_eq!(context.trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));

        for bad in [
            "",
            "x",
            &GOOD.to_uppercase(),
            &GOOD
                .replace("0af7", "0000")
                .replace("651916cd43dd8448eb211c80319c", &"0".repeat(28)),
            &format!("{GOOD}{}", "0".repeat(5000)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PARENT, bad);
            assert_eq!(TraceContext::of(&headers), TraceContext::default(), "{bad}");
        }
    }
}
