//! Failpoints: faults on purpose at the steps of a consumer's path, for tests only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Error;

/// The steps of a consumer's path at which a fault can be placed.
pub const STEPS: [&str; 6] = ["fetch", "decode", "begin", "insert", "commit", "ack"];

/// What happens at a step.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The process ends at once, as with `kill -9`.
    Crash,
    /// The step fails with an error of this kind.
    Fail(crate::error::Kind),
    /// The step takes this much longer.
    Delay(Duration),
}

/// Which faults are left to happen: each stands for one pass of its step.
#[derive(Clone, Default)]
pub struct Failpoints(Arc<Mutex<HashMap<&'static str, Vec<Fault>>>>);

impl Failpoints {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next passes of `step` (one of [`STEPS`]) meet these faults, in order.
    pub fn at(&self, step: &'static str, faults: impl IntoIterator<Item = Fault>) {
        assert!(STEPS.contains(&step), "{step:?} is none of {STEPS:?}");
        let mut all = self.0.lock();
        all.entry(step).or_default().extend(faults);
    }

    /// Reads `step=crash`, as a child process of a test gets it.
    pub fn parse(text: &str) -> Option<Self> {
        let (step, fault) = text.split_once('=')?;
        let step = STEPS.into_iter().find(|known| *known == step)?;
        let fault = match fault {
            "crash" => Fault::Crash,
            "unavailable" => Fault::Fail(crate::error::Kind::Unavailable),
            "internal" => Fault::Fail(crate::error::Kind::Internal),
            delay => Fault::Delay(Duration::from_millis(delay.parse().ok()?)),
        };
        let points = Self::new();
        points.at(step, [fault]);
        Some(points)
    }

    pub(crate) async fn pass(&self, step: &'static str) -> Result<(), Error> {
        let fault = {
            let mut all = self.0.lock();
            all.get_mut(step)
                .filter(|faults| !faults.is_empty())
                .map(|faults| faults.remove(0))
        };
        match fault {
            None => Ok(()),
            Some(Fault::Crash) => std::process::abort(),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, format!("failpoint {step}"))),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }
}
