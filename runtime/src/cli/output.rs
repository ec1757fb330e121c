//! What a command prints. One whose output cannot be written has failed, whatever else it did.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Exit;

/// Something that was said did not reach the output.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// A line for the person, or for the program that reads the output.
pub(super) fn say(line: impl Display) {
    printed(writeln!(io::stdout(), "{line}"));
}

/// A line about what went wrong.
pub(super) fn complain(line: impl Display) {
    // Where this cannot be written there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says what kept the output from being written, once. A reader that has gone is no failure: it has read
/// what it wanted.
pub(super) fn printed(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != ErrorKind::BrokenPipe
        && !IS_LOST.swap(true, Ordering::Relaxed)
    {
        complain(format_args!("the output cannot be written: {error}"));
    }
}

/// How the program ends that would end so.
pub(super) fn checked(exit: Exit) -> Exit {
    if exit == Exit::SUCCESS && IS_LOST.load(Ordering::Relaxed) {
        return Exit::FAILURE;
    }
    exit
}
