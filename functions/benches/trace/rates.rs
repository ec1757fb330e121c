//! The figures of each tracing mode, as a share of those without tracing.

use crate::collector::Mode;

/// One figure of each mode for each round.
pub(crate) struct Rates {
    what: &'static str,
    rounds: Vec<Vec<f64>>,
}

impl Rates {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            rounds: Vec::new(),
        }
    }

    /// The figures of a round, in the order of the modes.
    pub(crate) fn push(&mut self, round: Vec<f64>) {
        self.rounds.push(round);
    }

    /// Each round is compared with its own `off`, so that a machine that slows down between two
    /// rounds does not look like tracing. The range is that of the middle half of the rounds.
    pub(crate) fn print(&self, modes: &[Mode]) {
        println!("{}, median of {} rounds", self.what, self.rounds.len());
        for (at, mode) in modes.iter().enumerate() {
            let figures = sorted(self.rounds.iter().map(|round| round[at]));
            let shares = sorted(self.rounds.iter().map(|round| round[at] / round[0]));
            let quarter = shares.len() / 4;
            println!(
                "  {:<16} {:>10.1} {:>8.3} of off ({:.3} to {:.3})",
                mode.name,
                median(&figures),
                median(&shares),
                shares[quarter],
                shares[shares.len() - 1 - quarter],
            );
        }
    }
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
