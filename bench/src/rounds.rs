//! Contestants that are measured in turns, round by round: what else the machine does meets all of them.

use futures_util::future::LocalBoxFuture;

use crate::Outcome;
use crate::summary::{Scene, Summary};

/// At least so many rounds; `BENCH_ROUNDS` asks for more.
const ROUNDS: usize = 5;

/// What a contestant did in one round: a value for each unit, such as `requests/s` or `p99 ms`. All contestants
/// of a scene name the same units.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// One who is measured.
pub(crate) struct Contestant<'a> {
    name: String,
    round: Box<dyn FnMut() -> LocalBoxFuture<'a, Outcome<Figures>> + 'a>,
}

impl<'a> Contestant<'a> {
    /// `round` does the work of one round and returns its figures.
    pub(crate) fn new<F: Future<Output = Outcome<Figures>> + 'a>(
        name: impl Into<String>,
        mut round: impl FnMut() -> F + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            round: Box::new(move || Box::pin(round())),
        }
    }
}

/// A benchmark at work.
pub(crate) struct Rounds {
    rounds: usize,
    summary: Summary,
}

impl Rounds {
    /// `name` is that of the benchmark.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            rounds: number("BENCH_ROUNDS", ROUNDS).max(ROUNDS),
            summary: Summary::new(name),
        }
    }

    /// Measures one scene, prints its table, and adds it to the file. The first contestant is the baseline: the
    /// others are compared with what it did in the same round.
    ///
    /// # Errors
    /// A contestant fails, or the file cannot be written.
    pub(crate) async fn scene(
        &mut self,
        title: &str,
        mut contestants: Vec<Contestant<'_>>,
    ) -> Outcome {
        let names = contestants.iter().map(|one| one.name.clone()).collect();
        let mut scene = Scene::new(title, names);
        let count = contestants.len();
        for round in 0..self.rounds {
            // Each is first equally often: the first of a round has colder caches.
            for turn in 0..count {
                let at = (turn + round) % count;
                let contestant = &mut contestants[at];
                let figures = (contestant.round)()
                    .await
                    .map_err(|error| format!("{title}, {}: {error}", contestant.name))?;
                let shown: Vec<_> = figures
                    .iter()
                    .map(|(unit, value)| format!("{value:.2} {unit}"))
                    .collect();
                eprintln!(
                    "{title}, round {} of {}, {}: {}",
                    round + 1,
                    self.rounds,
                    contestant.name,
                    shown.join(", ")
                );
                scene.push(at, figures);
            }
        }
        self.summary.add(scene)
    }
}

/// A whole number from the environment.
pub(crate) fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
