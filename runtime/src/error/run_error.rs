//! The host's errors: why a service could not be built, set up, started or run.

use std::error::Error as StdError;
use std::fmt;

/// Why a service did not run. It prints as sentences for the person who started it.
///
/// `?` turns any error into one. Like [`crate::Error`] it is no [`std::error::Error`] itself, but
/// it becomes a `Box<dyn std::error::Error>` through `?`.
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

impl<E: StdError + Send + Sync + 'static> From<E> for RunError {
    fn from(error: E) -> Self {
        Self::new(crate::error::Error::from(error).to_string())
    }
}

impl From<RunError> for Box<dyn StdError + Send + Sync> {
    fn from(error: RunError) -> Self {
        error.to_string().into()
    }
}
