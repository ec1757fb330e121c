//! Kinds of failure, and what follows from each.

/// The kind of a failure. It decides the code that a caller sees and what happens to a message from a
/// stream.
///
/// | kind | code | the caller sees | on a stream |
/// |---|---|---|---|
/// | `BadRequest` .. `TooLarge` | 400 401 403 404 409 413 | message and details | dead letter |
/// | `TooManyRequests` | 429 | message and details | delayed retry; counts as no attempt; dead letter after [`Retry::within`](crate::Retry::within) |
/// | `Unavailable` | 503 | "try again" | held until the dependency is back; counts as no attempt |
/// | `Timeout` | 504 | "try again" | delayed retry without other messages; after three, as `Internal` |
/// | `Halt` | 500 | "internal error" | the consumer stops; nothing is acknowledged |
/// | `Internal` | 500 | "internal error" | delayed retry; dead letter after [`Retry::attempts`](crate::Retry::attempts), if other messages succeeded in between |
///
/// How long a delayed retry waits [`Consumer::retry`](crate::Consumer::retry) says, or the error itself:
/// [`Error::retry_in`](crate::Error::retry_in).
///
/// `Unavailable`, `Timeout` and `Internal` may be the fault of something that every message needs: while several
/// messages fail and none succeeds, none of them is given up, also after `Retry::within`. `TooManyRequests`
/// holds no other message either, but a quota may be everybody's: the same. Any kind with
/// [`Error::retry_later`](crate::Error::retry_later) or `retry_in` concerns its message alone: it holds no other,
/// and becomes a dead letter in time whatever becomes of others. That is the one for a webhook, where what is down
/// is one customer's receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request or message is wrong; repeating it cannot help.
    BadRequest,
    /// The caller is not logged in, or not known.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The request contradicts the current state.
    Conflict,
    /// The request or message is larger than allowed.
    TooLarge,
    /// The caller asks too often.
    TooManyRequests,
    /// Something that the function depends on is down: the network, a database, a stream.
    Unavailable,
    /// The function did not finish before its deadline, or the database ended a statement that took too long.
    Timeout,
    /// The function found a state that it does not know; continuing would do harm.
    Halt,
    /// Everything else, panics included.
    Internal,
}

/// What the runtime does with a message whose function failed with a [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    DeadLetter,
    Retry,
    RetryAlone,
    Hold,
    Halt,
    Attempt,
}

impl Kind {
    /// Its name in traces and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Halt => "halt",
            Self::Internal => "internal",
        }
    }

    /// The number in `Nats-Service-Error-Code`.
    pub const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Halt | Self::Internal => 500,
        }
    }

    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::BadRequest
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Conflict
            | Self::TooLarge => Policy::DeadLetter,
            Self::TooManyRequests => Policy::Retry,
            Self::Timeout => Policy::RetryAlone,
            Self::Unavailable => Policy::Hold,
            Self::Halt => Policy::Halt,
            Self::Internal => Policy::Attempt,
        }
    }

    /// The public message of a kind whose own message may reveal too much.
    pub(super) const fn safe_sentence(self) -> Option<&'static str> {
        match self {
            Self::Unavailable | Self::Timeout => Some("try again"),
            Self::Halt | Self::Internal => Some("internal error"),
            _ => None,
        }
    }
}
