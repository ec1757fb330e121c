//! How a program ends.

use std::process::{ExitCode, Termination};

/// How a program ends: what `fn main() -> natsfn::Exit` returns.
///
/// 0: done, or stopped when told to. 1: it did not work, and stderr says why. 2: the command line
/// or the configuration is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "fn main() returns it"]
pub struct Exit(u8);

impl Exit {
    /// It worked.
    pub const SUCCESS: Self = Self(0);
    /// It did not.
    pub const FAILURE: Self = Self(1);

    /// An exit with a code.
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The code.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.0)
    }
}
