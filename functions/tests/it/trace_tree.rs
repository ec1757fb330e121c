//! A trace as Jaeger's query API returns it, read as a tree.

use std::fmt::Write;

use serde_json::Value;

/// A span with those below it, in the order in which they began.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) name: String,
    microseconds: u64,
    pub(crate) below: Vec<Self>,
}

impl Tree {
    /// The trace's trees: one, where everything hangs together. What was begun elsewhere is no part.
    pub(crate) fn of(answer: &Value) -> Vec<Self> {
        let mut spans: Vec<&Value> = answer["data"][0]["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        spans.sort_by_key(|span| span["startTime"].as_u64());
        let is_known = |id: &str| spans.iter().any(|span| span["spanID"] == id);
        spans
            .iter()
            .filter(|span| !parent(span).is_some_and(is_known))
            .map(|span| Self::below(span, &spans))
            .collect()
    }

    fn below(span: &Value, spans: &[&Value]) -> Self {
        let children = spans
            .iter()
            .filter(|child| parent(child) == span["spanID"].as_str());
        Self {
            name: span["operationName"].as_str().unwrap().to_owned(),
            microseconds: span["duration"].as_u64().unwrap(),
            below: children.map(|child| Self::below(child, spans)).collect(),
        }
    }

    /// The names on the way down to a span.
    pub(crate) fn way_to(&self, name: &str) -> Option<Vec<&str>> {
        if self.name == name {
            return Some(vec![&self.name]);
        }
        let mut way = self.below.iter().find_map(|child| child.way_to(name))?;
        way.insert(0, &self.name);
        Some(way)
    }

    /// One line for each span, indented, with its milliseconds.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        self.write(0, &mut lines);
        lines
    }

    fn write(&self, depth: usize, lines: &mut String) {
        let millis = self.microseconds as f64 / 1000.0;
        let name = format!("{}{}", "  ".repeat(depth), self.name);
        writeln!(lines, "{name:<44} {millis:>8.3} ms").unwrap();
        for child in &self.below {
            child.write(depth + 1, lines);
        }
    }
}

fn parent(span: &Value) -> Option<&str> {
    let references = span["references"].as_array()?;
    let child = references
        .iter()
        .find(|reference| reference["refType"] == "CHILD_OF")?;
    child["spanID"].as_str()
}

#[test]
fn a_message_reads_as_one_tree_in_what_jaeger_returned() {
    let answer = serde_json::from_str(include_str!("fixtures/trace.json")).unwrap();
    let trees = Tree::of(&answer);
    assert_eq!(trees.len(), 1);
    let way = trees[0].way_to("INSERT messages").unwrap();
    assert_eq!(
        way,
        [
            "process chat.send.{room}",
            "publish chat.{room}",
            "process_batch chat.{room}",
            "INSERT messages",
        ]
    );
    assert!(trees[0].lines().contains("  publish chat.{room}"));
}
