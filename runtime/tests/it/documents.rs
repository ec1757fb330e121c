//! What the documents name exists: files, headings, programs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::architecture::sources;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let named = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "web/README.md",
    ];
    let mut paths: Vec<PathBuf> = named.map(PathBuf::from).into();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        paths.push(path.strip_prefix(root()).unwrap().to_owned());
    }
    paths
        .into_iter()
        .map(|path| (path.clone(), read(path)))
        .collect()
}

/// What stands in fences of this language, and what stands outside of all fences.
fn fenced(text: &str, language: &str) -> (Vec<String>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    for (at, part) in format!("\n{text}").split("\n```").enumerate() {
        match part.split_once('\n') {
            _ if at % 2 == 0 => prose.push_str(part),
            Some((name, block)) if name == language => blocks.push(block.to_owned()),
            _ => {}
        }
    }
    (blocks, prose)
}

/// The name by which a link finds a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Without what a formatter decides.
fn bare(code: &str) -> String {
    let text: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    text.replace(",)", ")")
        .replace(",}", "}")
        .replace(",]", "]")
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    for (document, text) in documents() {
        let (_, prose) = fenced(&text, "");
        let links = prose.split("](").skip(1);
        for link in links.filter_map(|rest| rest.split(')').next()) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(path)
            };
            let has_heading = || {
                let (_, prose) = fenced(&read(&target), "");
                let mut headings = prose.lines().filter(|line| line.starts_with('#'));
                headings.any(|line| anchor(line) == heading)
            };
            if !root().join(&target).exists() || !(heading.is_empty() || has_heading()) {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_document_that_is_named_exists() {
    let code = ["runtime/src", "functions/src", "xtask/src"];
    let texts = code.into_iter().flat_map(sources).chain(documents());
    for (file, text) in texts {
        let words = text.split(|c: char| !(c.is_alphanumeric() || "_-./".contains(c)));
        for word in words.filter(|word| word.ends_with(".md") && *word != ".md") {
            let beside = file.parent().unwrap().join(word);
            let exists = root().join(word).is_file() || root().join(beside).is_file();
            assert!(exists, "{} names {word}", file.display());
        }
    }
}

#[test]
fn every_file_for_the_operator_that_is_named_exists() {
    for (file, text) in documents() {
        let words = text.split(|c: char| !(c.is_alphanumeric() || "_-./".contains(c)));
        let named = words.filter(|word| word.starts_with("deploy/") || word.starts_with("otel/"));
        for word in named.map(|word| word.trim_end_matches('.')) {
            assert!(
                root().join(word).exists(),
                "{} names {word}",
                file.display()
            );
        }
    }
}

#[test]
fn every_alert_has_its_heading_and_leads_there() {
    let rules = read("otel/alerts.yaml");
    let of = |key: &str| -> Vec<String> {
        let lines = rules.lines().map(str::trim);
        let values = lines.filter_map(|line| line.strip_prefix(key));
        values.map(str::to_owned).collect()
    };
    let alerts = of("- alert: ");
    let page = read("docs/operations.md");
    let (_, about) = page
        .split_once("\n## What does each alert mean?\n")
        .unwrap();
    let (about, _) = about.split_once("\n## ").unwrap();
    let headings = about.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(alerts, headings.collect::<Vec<_>>());
    let leads = |alert: &String| format!("docs/operations.md#{}", anchor(alert));
    assert_eq!(
        of("runbook_url: "),
        alerts.iter().map(leads).collect::<Vec<_>>()
    );
    let table = read("docs/observability.md");
    let rows = table
        .lines()
        .filter(|line| line.contains("(operations.md#"));
    let names = rows.filter_map(|line| line.strip_prefix("| [`")?.split('`').next());
    assert_eq!(alerts, names.collect::<Vec<_>>());
}

#[test]
fn every_program_of_the_documents_is_part_of_an_example() {
    let examples = ["hello", "shop"].map(|name| bare(&read(format!("runtime/examples/{name}.rs"))));
    let mut count = 0;
    for (document, text) in documents() {
        let (blocks, _) = fenced(&text, "rust");
        count += blocks.len();
        for part in blocks.iter().flat_map(|block| block.split("\n\n")) {
            let found = examples.iter().any(|example| example.contains(&bare(part)));
            assert!(
                found,
                "{}: no example contains:\n{part}",
                document.display()
            );
        }
    }
    assert!(count >= 3, "hello, shop, and how it is tested");
}

#[test]
fn from_event_lists_every_extractor() {
    let docs = read("runtime/src/function/extract.rs");
    let rows = docs.lines().filter(|line| line.starts_with("/// | "));
    let list = rows.collect::<String>().replace('<', "`");
    let code: String = sources("runtime/src").into_iter().map(|it| it.1).collect();
    let impls = code.lines().filter(|line| line.starts_with("impl<"));
    for (_, name) in impls.filter_map(|line| line.split_once(", S> for ")) {
        let name = name.split(['<', ' ']).next().unwrap();
        assert!(list.contains(&format!("`{name}`")), "{name} is not listed");
    }
}
