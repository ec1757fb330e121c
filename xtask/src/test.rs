//! `cargo xtask test`: runs the tests.

use std::ffi::OsString;
use std::time::Instant;

use crate::bench::Bench;
use crate::suite::{SUITES, Suite};
use crate::{Result, asks_for_help};

/// Runs the suites in order, until one fails.
pub(crate) fn test(arguments: &[OsString]) -> Result<()> {
    if asks_for_help(arguments) {
        println!("{}", help());
        return Ok(());
    }
    let suites = choose(arguments)?;
    let start = Instant::now();
    let bench = Bench::set_up(&suites)?;
    let mut times = vec![("set-up", start.elapsed())];
    let mut outcome = Ok(());
    for suite in suites {
        eprintln!("== {}: {}", suite.name, suite.about);
        let start = Instant::now();
        outcome = (suite.run)(&bench)
            .map_err(|error| format!("suite `{}` failed: {error}", suite.name).into());
        times.push((suite.name, start.elapsed()));
        if outcome.is_err() {
            break;
        }
    }
    for (name, time) in times {
        eprintln!("{name:<12} {:>7.1} s", time.as_secs_f32());
    }
    eprintln!("{:<12} {:>7.1} s", "all", start.elapsed().as_secs_f32());
    outcome
}

/// The named suites, or all that need no further tools.
fn choose(names: &[OsString]) -> Result<Vec<&'static Suite>> {
    if names.is_empty() {
        return Ok(SUITES.iter().filter(|suite| !suite.further).collect());
    }
    let find = |name: &OsString| {
        let suite = SUITES.iter().find(|suite| name == suite.name);
        suite.ok_or_else(|| format!("no suite `{}`\n\n{}", name.display(), help()).into())
    };
    names.iter().map(find).collect()
}

fn help() -> String {
    let mut help = "\
Runs the tests, with a real nats-server, a real PostgreSQL and a real Chromium.

Usage: cargo xtask test [SUITE...]

Suites; without a name, all but those with a star run:
"
    .to_owned();
    for Suite {
        name,
        about,
        further,
        ..
    } in SUITES
    {
        help += &format!("  {}{name:<12} {about}\n", if *further { '*' } else { ' ' });
    }
    help + "
NATS_SERVER, NATS_CLI, NODE_BIN, CHROMIUM, JAEGER, KEYCLOAK (its kc.sh), OTELCOL, PROMTOOL, POSTGRES_BIN (a
directory) and KUBERNETES_SCHEMAS (a directory) may name what to take.
One test: `cargo xtask postgres`, and beside it `TEST_DATABASE_URL=... cargo test -p chat NAME`."
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn without_names_run_the_suites_without_further_tools() {
        let names: Vec<&str> = choose(&[])
            .unwrap()
            .iter()
            .map(|suite| suite.name)
            .collect();
        assert_eq!(
            names,
            ["format", "lints", "unit", "integration", "web", "browser"]
        );
    }

    #[test]
    fn unknown_suite_is_an_error_that_lists_the_known_ones() {
        let error = choose(&["unit".into(), "speed".into()])
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("`speed`") && error.contains("integration"),
            "{error}"
        );
    }
}
