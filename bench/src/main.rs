//! What natsfn and chat cost, beside plain programs that do the same.
//!
//! `cargo xtask bench NAME`; docs/benchmarks.md has the method. A benchmark is a file in `contests/`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured, and how far it is"
)]

mod backlog;
mod callers;
mod contests;
mod load;
mod process;
mod rounds;
mod runner;
mod summary;

use natsfn::Exit;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, Failure>;

fn main() -> Exit {
    // A process that a benchmark started: a contestant.
    if let Some((name, part)) = process::part() {
        let contest = contests::CONTESTS.iter().find(|one| one.name == name);
        return contest
            .and_then(|contest| contest.part)
            .map_or(Exit::FAILURE, |run| run(&part));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only asks whether it compiles.
    if arguments.iter().any(|argument| argument == "--test") {
        return Exit::SUCCESS;
    }
    for argument in arguments.iter().filter(|word| !word.starts_with("--")) {
        let Some(contest) = contests::CONTESTS.iter().find(|one| one.name == argument) else {
            let names: Vec<_> = contests::CONTESTS.iter().map(|one| one.name).collect();
            eprintln!("no benchmark `{argument}`, only {}", names.join(", "));
            return Exit::FAILURE;
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        let measured = runtime
            .map_err(Failure::from)
            .and_then(|runtime| runtime.block_on((contest.measure)()));
        if let Err(error) = measured {
            eprintln!("{}: {error}", contest.name);
            return Exit::FAILURE;
        }
    }
    Exit::SUCCESS
}
