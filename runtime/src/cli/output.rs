//! What a command prints. A command whose output cannot be written has failed.

pub(super) mod exit;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use exit::Exit;

/// Whether some output could not be written.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// Prints a line to stdout.
pub(super) fn say(line: impl Display) {
    printed(writeln!(io::stdout(), "{line}"));
}

/// Prints a line about an error to stderr.
pub(super) fn complain(line: impl Display) {
    // If stderr cannot be written, the error cannot be reported.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Reports once why the output cannot be written. A reader that has closed it is no failure: it has
/// read what it wanted.
pub(super) fn printed(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
        && !IS_LOST.swap(true, Ordering::Relaxed)
    {
        complain(format_args!("the output cannot be written: {error}"));
    }
}

/// The exit of the program: a success becomes a failure if output was lost.
pub(super) fn checked(exit: Exit) -> Exit {
    if exit == Exit::SUCCESS && IS_LOST.load(Ordering::Relaxed) {
        return Exit::FAILURE;
    }
    exit
}
