//! A contestant that answers requests.

use std::time::Duration;

use crate::Outcome;
use crate::load::Load;
use crate::process::Process;
use crate::rounds::Figures;

/// A contestant's process, and the load for it.
pub(crate) struct Runner {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    pub(crate) load: Load,
}

impl Runner {
    /// Its figures with so many requests in flight, for this time.
    pub(crate) fn round(&mut self, in_flight: usize, time: Duration) -> Outcome<Figures> {
        let before = self.process.processor_time()?;
        let answers = self.load.run(in_flight, time)?;
        let after = self.process.processor_time()?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / answers.count as f64;
        let (user, system) = (after.user - before.user, after.system - before.system);
        Ok(vec![
            ("requests/s", answers.a_second()),
            ("p50 us", answers.latency(0.5)),
            ("p99 us", answers.latency(0.99)),
            ("processor us", each(user + system)),
            ("of it user us", each(user)),
            ("of it system us", each(system)),
        ])
    }
}
