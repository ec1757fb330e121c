//! `dev --watch`: builds when the sources change, starts the new program beside the one before, and ends that one once
//! the new one serves.

mod build;
mod cargo;
mod child;
mod sources;

use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::output::complain;
use crate::cli::say;
use crate::error::run_error::RunError;
use child::Child;

pub(super) use build::Build;
pub(super) use child::Launch;

/// How long after its end a program that served is started again, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
    let mut program = build.program().to_owned();
    let mut old: Option<Child> = None;
    let mut new = Some(launch.start(&program)?);
    let mut again = Again::default();
    let mut draining = JoinSet::new();
    let mut drain = |child: Option<Child>| {
        child.map(|child| draining.spawn(child.drain()));
    };
    let (programs, mut built) = mpsc::channel(1);
    let building = AbortOnDropHandle::new(tokio::spawn(build.again_and_again(programs)));
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(built) = built.recv() => {
                if built.as_ref().is_ok_and(|it| !it.is_new) && (old.is_some() || new.is_some()) {
                    continue;
                }
                let started = built.and_then(|built| {
                    program = built.program;
                    launch.start(&program)
                });
                match started {
                    Ok(child) => {
                        again = Again::default();
                        drain(new.replace(child));
                    }
                    Err(error) => complain(format_args!("{error}; {}", what_now(&old, &again))),
                }
            }
            said = said_by(&mut new) => match said {
                Ok(words) => {
                    if let Some(ready) = ready.take() {
                        ran = ready(&words);
                    } else {
                        say(words);
                    }
                    drain(old.take());
                    old = new.take();
                    again.served = Some(Instant::now());
                    if ran.is_err() {
                        break;
                    }
                }
                Err(ended) => {
                    new = None;
                    if old.is_none() && again.has_begun() {
                        again.plan();
                    }
                    let now = what_now(&old, &again);
                    complain(format_args!(
                        "the new program ended before it was ready ({ended}); {now}; what its setup changed stays"
                    ));
                }
            },
            ended = end_of(&mut old) => {
                old = None;
                if new.is_none() {
                    again.plan();
                }
                let now = if new.is_some() { "the new one starts".to_owned() } else { what_now(&old, &again) };
                complain(format_args!("the program ended ({ended}); {now}"));
            }
            () = again.comes() => match launch.start(&program) {
                Ok(child) => new = Some(child),
                Err(error) => complain(format_args!("{error}; {}", what_now(&old, &again))),
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

fn what_now(old: &Option<Child>, again: &Again) -> String {
    match (old, again.at) {
        (Some(_), _) => "the one before goes on".to_owned(),
        (None, Some((pause, _))) => {
            format!("it starts again in {pause:?}, and the next change starts another")
        }
        (None, None) => "the next change starts another".to_owned(),
    }
}

/// When a program that served and ended is started again: later each time, until a change comes.
#[derive(Default)]
struct Again {
    /// The last pause.
    last: Option<Duration>,
    /// After this pause, and when that is.
    at: Option<(Duration, Instant)>,
    /// Since when the program serves.
    served: Option<Instant>,
}

impl Again {
    fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    fn plan(&mut self) {
        let lasted = self.served.take().map(|since| since.elapsed());
        if lasted.is_some_and(|lasted| lasted > LONGEST_PAUSE) {
            self.last = None;
        }
        let pause = self
            .last
            .map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        self.at = Some((pause, Instant::now() + pause));
    }

    /// Returns when it is time; never where nothing is planned.
    async fn comes(&mut self) {
        match self.at {
            Some((_, at)) => sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.at = None;
    }
}
