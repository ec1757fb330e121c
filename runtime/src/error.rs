//! Errors: what a function returns, what its caller sees, what becomes of a message.

#[cfg(feature = "sea-orm")]
pub(crate) mod database;
mod kind;
pub(crate) mod reply;
mod retry_after;
pub(crate) mod run_error;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

pub use kind::Kind;
pub(crate) use kind::Policy;

/// A function's result; its default error type is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// A function's error: a kind, a sentence for the caller, and a source that the caller never sees.
///
/// `?` turns any [`std::error::Error`] into [`Kind::Internal`], and a database error into the kind that
/// fits. `Error` does not implement [`std::error::Error`] itself: that conversion would then conflict
/// with `From<T> for T` (as in `anyhow`).
///
/// ```
/// use natsfn::{Error, Result};
///
/// fn amount(text: &str) -> Result<u32> {
///     let amount = text.parse()?; // Internal: the cause is for the log
///     if amount == 0 {
///         return Err(Error::bad_request("an amount is at least 1")); // 400: for the caller
///     }
///     Ok(amount)
/// }
///
/// assert_eq!(amount("x").unwrap_err().public_message(), "internal error");
/// assert_eq!(amount("0").unwrap_err().public_message(), "an amount is at least 1");
/// ```
pub struct Error {
    kind: Kind,
    message: String,
    details: Option<Value>,
    retry_after: Option<Duration>,
    retry_later: bool,
    is_of_message: bool,
    source: Option<Source>,
}

impl Error {
    /// An error of this kind. The kind decides whether the caller sees the message: see [`Kind`].
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            details: None,
            retry_after: None,
            retry_later: false,
            is_of_message: false,
            source: None,
        }
    }

    /// [`Kind::BadRequest`]; the message should say what is allowed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// [`Kind::Unavailable`]: a dependency is down; the message is for the log.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// [`Kind::Internal`] with a message for the log.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds the cause; it goes to the log and into the dead letter, never to a caller.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What `?` makes of an error.
    fn of_source(source: Source) -> Self {
        let error = match database_meaning(&*source) {
            // The database's own text names tables and constraints, so only the source keeps it.
            Some((kind, sentence)) => Self::new(kind, sentence),
            None => Self::internal(source.to_string()),
        };
        error.with_source(source)
    }

    /// The same error for another one who waited for it; of the cause only what it says.
    pub(crate) fn copy(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            retry_after: self.retry_after,
            retry_later: self.retry_later,
            is_of_message: self.is_of_message,
            details: self.details.clone(),
            source: self.source.as_ref().map(|it| it.to_string().into()),
        }
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message as the function wrote it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, if there are any.
    pub fn details(&self) -> Option<&Value> {
        self.details.as_ref()
    }

    /// The cause, if there is one.
    pub fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }

    /// The message that a caller sees: the error's own, or a generic one if the kind hides it.
    pub fn public_message(&self) -> &str {
        self.kind.safe_sentence().unwrap_or(&self.message)
    }

    /// The details that a caller sees.
    pub(crate) fn public_details(&self) -> Option<&Value> {
        self.details
            .as_ref()
            .filter(|_| self.kind.safe_sentence().is_none())
    }
}

impl fmt::Display for Error {
    /// The message and every cause below it, for logs and dead letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut written = self.message.clone();
        let mut source = self.source();
        while let Some(cause) = source {
            // Many error types repeat their source in their own text; once is enough.
            let text = cause.to_string();
            if !written.contains(&text) {
                write!(f, ": {text}")?;
                written = text;
            }
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({}): {self}", self.kind, self.kind.code())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self::of_source(Box::new(error))
    }
}

/// Kind and public message of a database error.
#[cfg(feature = "sea-orm")]
fn database_meaning(error: &(dyn StdError + 'static)) -> Option<(Kind, &'static str)> {
    database::meaning_of(error).map(|meaning| (meaning.kind, meaning.sentence))
}

#[cfg(not(feature = "sea-orm"))]
fn database_meaning(_: &(dyn StdError + 'static)) -> Option<(Kind, &'static str)> {
    None
}

/// Lets a function return `Result<T, MyError>`: implement it for your own error type.
///
/// ```
/// use natsfn::{IntoError, Json, Kind};
///
/// #[derive(Debug, thiserror::Error)]
/// enum PriceError {
///     #[error("there is no {0}")]
///     Unknown(String),
///     #[error("{0} is sold out")]
///     SoldOut(String),
/// }
///
/// impl IntoError for PriceError {
///     fn kind(&self) -> Kind {
///         match self {
///             Self::Unknown(_) => Kind::NotFound,
///             Self::SoldOut(_) => Kind::Conflict,
///         }
///     }
/// }
///
/// async fn price(Json(sku): Json<String>) -> Result<Json<u32>, PriceError> {
///     Err(PriceError::Unknown(sku))
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("price", price);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a function",
    note = "return `natsfn::Error`, to which `?` turns any error, or implement `IntoError` for `{Self}` (kind, message, details)"
)]
pub trait IntoError: fmt::Display + Sized {
    /// The kind decides the caller's error code and what happens to a message.
    fn kind(&self) -> Kind;

    /// The sentence for the caller; by default what `Display` writes.
    fn message(&self) -> String {
        self.to_string()
    }

    /// Machine-readable details for the caller: see [`Error::with_details`].
    fn details(&self) -> Option<Value> {
        None
    }

    /// Converts into the runtime's error.
    fn into_error(self) -> Error {
        let error = Error::new(self.kind(), self.message());
        match self.details() {
            Some(details) => error.with_details(details),
            None => error,
        }
    }
}

impl IntoError for Error {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn into_error(self) -> Error {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_internal_and_its_text_stays_inside() {
        let error = Error::from("x".parse::<u32>().unwrap_err());
        assert_eq!(error.kind().code(), 500);
        assert_eq!(error.public_message(), "internal error");
        assert!(error.to_string().contains("invalid digit"));
    }

    #[test]
    fn details_of_an_internal_error_are_not_shown() {
        let error = Error::internal("x").with_details(serde_json::json!({"secret": 1}));
        assert!(error.public_details().is_none());
        let error = Error::bad_request("x").with_details(serde_json::json!({"limit": 1}));
        assert_eq!(error.public_details().unwrap()["limit"], 1);
    }
}
