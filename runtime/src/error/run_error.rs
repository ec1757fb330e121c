//! The host's errors: why a service could not be built, set up, started or run.

use std::error::Error as StdError;
use std::{fmt, io};

use super::{Error, Source};

/// Why a service did not run. It prints as sentences for the person who started it.
///
/// What makes a service or a command of one's own may return any error that goes into a
/// `Box<dyn std::error::Error + Send + Sync>`: this one; [`crate::Error`], to which `?` turns any
/// `std::error::Error`; `anyhow::Error`. The exit code is 2 for [`RunError::misuse`], which `?` into [`crate::Error`] keeps
/// and `anyhow` loses.
#[derive(Clone)]
pub struct RunError {
    reason: Reason,
    lines: Vec<String>,
}

/// What a caller can do about a [`RunError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The configuration, the arguments or the service's definition are wrong; exit code 2.
    Misuse,
    /// The next attempt may work: the server did not answer in time, or the connection ended.
    Passing,
    /// NATS cannot be reached.
    Unreached,
    /// Another process listens on a port.
    #[cfg(feature = "server")]
    PortInUse,
    /// Everything else.
    Other,
}

impl RunError {
    /// One sentence: the cause and the cure.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::of(Reason::Other, sentence)
    }

    pub(crate) fn of(reason: Reason, sentence: impl Into<String>) -> Self {
        let lines = vec![sentence.into()];
        Self { reason, lines }
    }

    /// Mistakes in a configuration or a service's definition, all at once; exit code 2.
    pub fn misuse(lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            reason: Reason::Misuse,
            lines: lines.into_iter().collect(),
        }
    }

    /// What went wrong while doing something: `context: cause`.
    pub fn while_doing(context: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(format!("{context}: {cause}"))
    }

    /// Both, or what is wrong with either.
    #[cfg(feature = "cli")]
    pub(crate) fn both<A, B>(one: Result<A, Self>, other: Result<B, Self>) -> Result<(A, B), Self> {
        match (one, other) {
            (Ok(one), Ok(other)) => Ok((one, other)),
            (Err(mut error), Err(more)) => {
                error.lines.extend(more.lines);
                Err(error)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// One sentence more.
    #[cfg(feature = "cli")]
    pub(crate) fn and(mut self, sentence: String) -> Self {
        self.lines.push(sentence);
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the next attempt may work: the server did not answer in time, or the connection ended.
    pub fn is_passing(&self) -> bool {
        self.reason == Reason::Passing
    }

    /// The sentences.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2 where the configuration or the definition is wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.reason == Reason::Misuse { 2 } else { 1 }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for RunError {}

impl From<Source> for RunError {
    fn from(error: Source) -> Self {
        match error.downcast() {
            Ok(error) => *error,
            Err(error) => {
                let mut reason = Reason::Other;
                let mut cause = error.source();
                while let Some(error) = cause {
                    if let Some(error) = error.downcast_ref::<Self>() {
                        reason = error.reason;
                    }
                    cause = error.source();
                }
                Self::of(reason, Error::of_source(error).to_string())
            }
        }
    }
}

impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        Source::from(error).into()
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Source::from(error).into()
    }
}

impl From<serde_json::Error> for RunError {
    fn from(error: serde_json::Error) -> Self {
        Source::from(error).into()
    }
}

impl<K> From<async_nats::error::Error<K>> for RunError
where
    K: Clone + fmt::Debug + fmt::Display + PartialEq + Send + Sync + 'static,
{
    fn from(error: async_nats::error::Error<K>) -> Self {
        Source::from(error).into()
    }
}

impl From<Error> for Source {
    /// What `?` had made an [`Error`] is itself again; of any other the text and the cause stay.
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.source {
            Some(source) if source.to_string() == text => source,
            source => Box::new(Whole { text, source }),
        }
    }
}

/// An error's whole text, its causes included.
#[derive(Debug)]
struct Whole {
    text: String,
    source: Option<Source>,
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Whole {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref();
        source.map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misuse() -> RunError {
        RunError::misuse(["one".to_owned(), "two".to_owned()])
    }

    #[test]
    fn passes_through_other_error_types_unchanged() {
        let through_function = Error::from(misuse());
        let through_box = Source::from(misuse());
        for error in [through_function.into(), RunError::from(through_box)] {
            assert_eq!((error.lines().len(), error.exit_code()), (2, 2));
        }
    }

    #[test]
    fn cause_of_another_error_decides_the_exit_code_and_is_told_once() {
        let error = Error::internal("no shop").with_source(misuse());
        let error = RunError::from(error);
        assert_eq!(error.to_string(), "no shop: one\ntwo");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(RunError::from(io::Error::other("away")).exit_code(), 1);
    }
}
