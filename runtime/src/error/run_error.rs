//! The host's errors: why a service could not be built, set up, started or run.

use std::error::Error as StdError;
use std::fmt;

/// Why a service did not run. It prints as sentences for the person who started it.
///
/// `?` turns any error into one. Like [`crate::Error`] it is no [`std::error::Error`] itself, but
/// it becomes a `Box<dyn std::error::Error>` through `?`.
pub struct RunError {
    lines: Vec<String>,
    misuse: bool,
    passing: bool,
}

impl RunError {
    /// One sentence: the cause and the cure.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self {
            lines: vec![sentence.into()],
            misuse: false,
            passing: false,
        }
    }

    /// What may be over at the next attempt.
    pub(crate) fn passing(sentence: impl Into<String>) -> Self {
        Self {
            passing: true,
            ..Self::new(sentence)
        }
    }

    /// Mistakes in a configuration or a service's definition, all at once; exit code 2.
    pub fn misuse(lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            lines: lines.into_iter().collect(),
            misuse: true,
            passing: false,
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
                error.misuse |= more.misuse;
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

    /// Whether the next attempt may work: the server did not answer in time, or the connection ended.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// The sentences.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2 where the configuration or the definition is wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.misuse { 2 } else { 1 }
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
