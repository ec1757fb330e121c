//! The outcome of a message or a request.

use serde_json::Value;

use crate::error::{Error, Policy};

/// The outcome of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handled.
    Acked,
    /// Failed, and will be tried again.
    Retried,
    /// Failed for good, or not decodable.
    DeadLetter,
    /// A dependency is down: kept until it is back.
    Held,
    /// The consumer stopped; nothing is acknowledged.
    Halted,
}

/// An error reply, as a caller sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReply {
    /// The error code.
    pub code: u16,
    /// The message for the caller.
    pub message: String,
    /// Machine-readable details.
    pub details: Option<Value>,
}

pub(super) fn outcome(error: &Error) -> Outcome {
    match error.policy() {
        Policy::DeadLetter => Outcome::DeadLetter,
        Policy::Retry | Policy::RetryAlone | Policy::Attempt => Outcome::Retried,
        Policy::Hold => Outcome::Held,
        Policy::Halt => Outcome::Halted,
    }
}

pub(super) fn reply(error: &Error) -> ErrorReply {
    ErrorReply {
        code: error.kind().code(),
        message: error.public_message().to_owned(),
        details: error.public_details().cloned(),
    }
}
