//! The figures of a benchmark: a table for people, and the same as JSON in `target/bench/NAME.json`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Outcome;
use crate::rounds::Figures;

/// The scenes of a benchmark so far.
pub(crate) struct Summary {
    name: &'static str,
    scenes: Vec<Value>,
}

impl Summary {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            scenes: Vec::new(),
        }
    }

    /// Prints a scene, and writes the file with all that there are: a run that is stopped leaves those that it
    /// has finished.
    pub(crate) fn add(&mut self, scene: Scene) -> Outcome {
        scene.print();
        self.scenes.push(scene.json());
        let file = directory()?.join(format!("{}.json", self.name));
        let all = json!({
            "benchmark": self.name,
            "cores": std::thread::available_parallelism()?.get(),
            "scenes": self.scenes,
        });
        fs::write(&file, format!("{all:#}\n"))?;
        eprintln!("{} is in {}", self.name, file.display());
        Ok(())
    }
}

/// `target/bench`, which is made if it is missing.
pub(crate) fn directory() -> Outcome<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let directory = root.canonicalize()?.join("target/bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// What all contestants did in every round of a scene.
pub(crate) struct Scene {
    title: String,
    names: Vec<String>,
    /// By unit, then by contestant: one value a round.
    units: Vec<(&'static str, Vec<Vec<f64>>)>,
}

impl Scene {
    pub(crate) fn new(title: &str, names: Vec<String>) -> Self {
        Self {
            title: title.to_owned(),
            names,
            units: Vec::new(),
        }
    }

    /// Adds a round of a contestant.
    pub(crate) fn push(&mut self, contestant: usize, figures: Figures) {
        for (unit, value) in figures {
            let at = self.units.iter().position(|(known, _)| *known == unit);
            let at = at.unwrap_or_else(|| {
                self.units.push((unit, vec![Vec::new(); self.names.len()]));
                self.units.len() - 1
            });
            self.units[at].1[contestant].push(value);
        }
    }

    fn print(&self) {
        println!("\n{}", self.title);
        for (unit, contestants) in &self.units {
            println!("  {unit:<26} {:>28}   ratio", "median (least .. most)");
            for (name, values) in self.names.iter().zip(contestants) {
                let figures = Spread::of(values);
                let ratios = Spread::of(&ratios(values, &contestants[0]));
                println!("    {name:<24} {:>28}   {}", figures.text(), ratios.text());
            }
        }
    }

    fn json(&self) -> Value {
        let contestants = self.names.iter().enumerate().map(|(at, name)| {
            let figures = self.units.iter().map(|(unit, contestants)| {
                let values = &contestants[at];
                let ratio = Spread::of(&ratios(values, &contestants[0]));
                let mut figure = Spread::of(values).json();
                figure["unit"] = json!(unit);
                figure["rounds"] = json!(values);
                figure["ratio"] = ratio.json();
                figure
            });
            json!({ "name": name, "figures": figures.collect::<Vec<_>>() })
        });
        json!({ "title": self.title, "contestants": contestants.collect::<Vec<_>>() })
    }
}

/// Each value as a share of the baseline's in the same round.
fn ratios(values: &[f64], baseline: &[f64]) -> Vec<f64> {
    values
        .iter()
        .zip(baseline)
        .map(|(one, other)| one / other)
        .collect()
}

/// Median, least and most.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(sorted.len() / 2),
            least: at(0),
            most: at(sorted.len().wrapping_sub(1)),
        }
    }

    fn text(&self) -> String {
        let digits = match self.median.abs() {
            large if large >= 1000.0 => 0,
            middle if middle >= 100.0 => 1,
            _ => 2,
        };
        format!(
            "{:.digits$} ({:.digits$} .. {:.digits$})",
            self.median, self.least, self.most
        )
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.least, "max": self.most })
    }
}
