//! Brings `dev` its nats-server where the machine has none.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;

use tokio::sync::oneshot;

use crate::cli::output::complain;
use crate::error::run_error::RunError;
use crate::server::{cached_binary, fetch, missing};

/// Fetches nats-server if there is none, after a question; `yes` is the answer to it.
pub(super) async fn provide(yes: bool) -> Result<(), RunError> {
    let Some(missing) = missing() else {
        return Ok(());
    };
    let Some(place) = cached_binary() else {
        return Err(missing);
    };
    if yes || agreed(&missing, &place).await {
        return fetch(&place, |line| complain(line)).await;
    }
    Err(missing)
}

/// Whether somebody is there and says yes.
async fn agreed(missing: &RunError, place: &Path) -> bool {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return false;
    }
    complain(format_args!(
        "{missing}.\nFetch it to {}? [Y/n]",
        place.display()
    ));
    // A thread of its own: a read of stdin ends with a line only, and Ctrl-C should not wait for it.
    let (tell, answer) = oneshot::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        let _ = tell.send(read.is_ok_and(|read| read > 0).then_some(line));
    });
    let line = answer
        .await
        .ok()
        .flatten()
        .unwrap_or_else(|| "n".to_owned());
    matches!(line.trim().to_lowercase().as_str(), "" | "y" | "yes")
}
