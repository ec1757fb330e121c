//! How an endpoint is asked and answered where neither is a plain payload.

use std::fmt;

use tracing::Span;

use crate::error::{Error, Result};
use crate::function::event::Request;
use crate::function::reply::Response;

/// Reads the requests of an endpoint, and writes its answers. Without a broker no codec is used.
pub(crate) trait Codec: fmt::Debug + Send + Sync {
    /// Whether an answer may go to a reply subject of the server's own, which begins with `$`.
    fn may_answer(&self, reply: &str) -> bool;

    /// The subjects of its answers.
    fn answers(&self) -> &'static str;

    /// Opens a request: what its function is to see goes into its context. With an error the function
    /// is not called; the envelope is for the answer either way.
    fn open(&self, request: &mut Request) -> (Box<dyn Envelope>, Result<()>);
}

/// What the answers to one request are put into.
pub(crate) trait Envelope: Send + Sync {
    /// Writes what the function returned.
    fn seal(&mut self, response: Response) -> Result<Response>;

    /// Writes an error. None where the caller is better off without an answer.
    fn refuse(&self, error: &Error) -> Option<Response>;

    /// Says what became of the request, in the log and on its span.
    fn tell(&self, span: &Span, outcome: Option<&Error>);
}
