//! Reads Prometheus' text format 0.0.4, and refuses what Prometheus might read otherwise.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// A metric: its type, and its samples in the order in which they stand.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// The metrics of a text by name.
///
/// # Panics
/// It is not as the format wants it, or a name or a number is not as a metric of its type has them.
pub(crate) fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends too");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut helped = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(is_name(name, ":"), "{line}");
            let family = Family {
                kind: kind.to_owned(),
                samples: Vec::new(),
            };
            assert!(
                families.insert(name.to_owned(), family).is_none(),
                "{name} twice"
            );
            current = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').expect(line);
            assert!(helped.insert(name.to_owned()), "{line}, twice");
        } else if !line.starts_with('#') {
            let name = current.as_ref().expect("a type comes first");
            let sample = sample(line);
            let family = families.get_mut(name).unwrap();
            assert!(
                belongs(&sample.name, name, &family.kind),
                "{line} of {name}"
            );
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        check(name, family);
    }
    families
}

fn is_name(text: &str, more: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
    text.chars().all(is_right) && text.starts_with(|c: char| !c.is_ascii_digit())
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    let Some(suffix) = sample.strip_prefix(family) else {
        return false;
    };
    match kind {
        "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
        _ => suffix.is_empty(),
    }
}

fn sample(line: &str) -> Sample {
    let (name, rest) = line.split_at(line.find(['{', ' ']).expect(line));
    let mut labels = Labels::new();
    let mut rest = rest;
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, value) = inside.split_once("=\"").expect(line);
            assert!(is_name(label, ""), "{line}");
            let mut text = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().expect(line) {
                    (at, '"') => break at,
                    (_, '\\') => text.push(match chars.next().expect(line).1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("\\{c} in {line}"),
                    }),
                    (_, c) => text.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
            inside = &value[end + 1..];
            inside = inside.strip_prefix(',').unwrap_or(inside);
        }
        rest = &inside[1..];
    }
    let value = rest.strip_prefix(' ').expect(line);
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => {
            let is_digit = |c: char| c.is_ascii_digit() || "+-.e".contains(c);
            assert!(value == "NaN" || value.chars().all(is_digit), "{line}");
            value.parse().expect(line)
        }
    };
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

fn check(name: &str, family: &Family) {
    let mut known = BTreeSet::new();
    for sample in &family.samples {
        let series = (&sample.name, &sample.labels);
        assert!(known.insert(series), "{sample:?} twice");
        if family.kind != "gauge" {
            assert!(sample.value >= 0.0, "{sample:?}");
        }
    }
    assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
    if family.kind == "histogram" {
        check_buckets(name, family);
    }
}

/// They are cumulative, the last has no bound, and counts all.
fn check_buckets(name: &str, family: &Family) {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        assert_eq!(
            bound.is_some(),
            sample.name.ends_with("_bucket"),
            "{sample:?}"
        );
        if let Some(bound) = bound {
            let bound = bound.replace("+Inf", "inf").parse().unwrap();
            buckets
                .entry(labels)
                .or_default()
                .push((bound, sample.value));
        } else if sample.name.ends_with("_count") {
            counts.insert(labels, sample.value);
        }
    }
    assert_eq!(buckets.len(), counts.len(), "{name}");
    for (labels, buckets) in &buckets {
        let grow = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(buckets.windows(2).all(grow), "{name}: {buckets:?}");
        let last = (f64::INFINITY, counts[labels]);
        assert_eq!(buckets.last(), Some(&last), "{name} {labels:?}");
    }
}
