//! How long a subject may be that somebody else has a say in.

use crate::error::{Error, Result};

/// nats-server ends the connection of who sends it a longer line (`max_control_line`, 4,096 bytes by default), and
/// with it all that is under way there. Beside the subject stand the one for the answer, and two sizes.
const LONGEST: usize = 4096 - 196;

/// Enough of it to recognise it.
const SHOWN: usize = 80;

/// # Errors
/// [`crate::Kind::BadRequest`] where the server would end the connection.
pub(crate) fn check_length(subject: &str) -> Result<()> {
    if subject.len() <= LONGEST {
        return Ok(());
    }
    let (bytes, shown) = (subject.len(), subject.chars().take(SHOWN));
    let shown: String = shown.collect();
    Err(Error::bad_request(format!(
        "the subject {shown:?}... has {bytes} bytes, and may have {LONGEST}: nats-server would end the connection"
    )))
}
