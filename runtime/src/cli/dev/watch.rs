//! `dev --watch`: builds when the sources change, starts the new program beside the one before, and ends that one once
//! the new one serves.

mod build;
mod cargo;
mod child;
mod sources;

use std::pin::pin;
use std::process::ExitStatus;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::output::complain;
use crate::cli::say;
use crate::error::run_error::RunError;
use child::Child;

pub(super) use build::Build;
pub(super) use child::Launch;

/// Runs the program that `build` made first, and each that it makes when the sources change, until the word to stop.
/// `ready` is called once, when the first instance serves, with what it says of itself.
pub(super) async fn watch(
    build: Build,
    launch: Launch<'_>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&str) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut stop = pin!(stop);
    let mut ready = Some(ready);
    let mut ran = Ok(());
    let mut old: Option<Child> = None;
    let mut new = Some(launch.start(build.program())?);
    let mut draining = JoinSet::new();
    let mut drain = |child: Option<Child>| {
        child.map(|child| draining.spawn(child.drain()));
    };
    let (programs, mut built) = mpsc::channel(1);
    let building = AbortOnDropHandle::new(tokio::spawn(build.again_and_again(programs)));
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(program) = built.recv() => match program.and_then(|it| launch.start(&it)) {
                Ok(child) => drain(new.replace(child)),
                Err(error) => complain(format_args!("{error}; {}", what_now(&old))),
            },
            said = said_by(&mut new) => match said {
                Ok(words) => {
                    if let Some(ready) = ready.take() {
                        ran = ready(&words);
                    } else {
                        say(words);
                    }
                    drain(old.take());
                    old = new.take();
                    if ran.is_err() {
                        break;
                    }
                }
                Err(ended) => {
                    new = None;
                    let now = what_now(&old);
                    complain(format_args!("the new program ended before it was ready ({ended}); {now}"));
                }
            },
            ended = end_of(&mut old) => {
                old = None;
                complain(format_args!("the program ended ({ended}); {}", what_now(&old)));
            }
        }
    }
    drop(building);
    drain(old);
    drain(new);
    draining.join_all().await;
    ran
}

/// What a child says once it serves; never where there is none.
async fn said_by(child: &mut Option<Child>) -> Result<String, ExitStatus> {
    match child {
        Some(child) => child.ready().await,
        None => std::future::pending().await,
    }
}

async fn end_of(child: &mut Option<Child>) -> ExitStatus {
    match child {
        Some(child) => child.end().await,
        None => std::future::pending().await,
    }
}

fn what_now(old: &Option<Child>) -> &'static str {
    match old {
        Some(_) => "the one before goes on",
        None => "the next change starts another",
    }
}
