//! hello in each tracing mode, in processes that run side by side and are called in turns: other
//! load on the machine affects all of them.

use std::time::Instant;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::process::Child;

use crate::collector::Mode;
use crate::rates::{Rates, median, sorted};
use crate::{Failure, child};

/// The prefix of these processes' subjects.
pub(crate) const HELLO: &str = "hello";

const IN_FLIGHT: usize = 128;

/// Requests of a turn with [`IN_FLIGHT`] at once, and of a turn with one at a time.
const MANY: usize = 5_000;
const SINGLE: usize = 1_000;

pub(crate) async fn measure(
    nats: &Client,
    url: &str,
    modes: &[Mode],
    rounds: usize,
) -> Result<(), Failure> {
    let mut children = Vec::new();
    for (at, mode) in modes.iter().enumerate() {
        let subject = format!("{HELLO}{at}");
        let child = child::start(&subject, &["serve"], url, mode).await?;
        rate(nats, &subject).await?;
        children.push((subject, child));
    }
    let mut rates = Rates::new("hello, 128 in flight, requests/s");
    let mut latencies = Rates::new("hello, one at a time, median latency in us");
    for round in 1..=rounds {
        eprintln!("hello: round {round} of {rounds}");
        let mut round_rates = vec![0.0; modes.len()];
        let mut round_latencies = vec![0.0; modes.len()];
        // Each mode is first equally often: the first of a round has colder caches.
        for turn in 0..modes.len() {
            let at = (turn + round) % modes.len();
            let (subject, _) = &children[at];
            round_rates[at] = rate(nats, subject).await?;
            round_latencies[at] = latency(nats, subject).await?;
        }
        rates.push(round_rates);
        latencies.push(round_latencies);
    }
    rates.print(modes);
    latencies.print(modes);
    print_processor_time(modes, &children, (rounds + 1) * MANY + rounds * SINGLE);
    Ok(())
}

/// Prints the processor time per request, which other processes disturb least.
fn print_processor_time(modes: &[Mode], children: &[(String, Child)], requests: usize) {
    let spent: Vec<f64> = children
        .iter()
        .filter_map(|(_, child)| child::processor_time(child))
        .map(|time| time.as_secs_f64() * 1e6 / requests as f64)
        .collect();
    if spent.len() < modes.len() {
        return;
    }
    println!("hello, processor time in us for each of {requests} requests");
    for (mode, time) in modes.iter().zip(&spent) {
        println!(
            "  {:<16} {time:>10.2} {:>8.3} of off",
            mode.name,
            time / spent[0]
        );
    }
}

/// Requests a second.
async fn rate(nats: &Client, subject: &str) -> Result<f64, Failure> {
    let started = Instant::now();
    futures_util::stream::iter(0..MANY)
        .map(|_| ask(nats, subject))
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    Ok(MANY as f64 / started.elapsed().as_secs_f64())
}

/// The median, in microseconds.
async fn latency(nats: &Client, subject: &str) -> Result<f64, Failure> {
    let mut latencies = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        let started = Instant::now();
        ask(nats, subject).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&sorted(latencies.into_iter())))
}

async fn ask(nats: &Client, subject: &str) -> Result<(), Failure> {
    let payload = Bytes::from_static(b"\"World\"");
    nats.request_with_headers(subject.to_owned(), traced(), payload)
        .await?;
    Ok(())
}

/// Headers with a new trace, as a browser sends them.
pub(crate) fn traced() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        "traceparent",
        format!("00-{}-b7ad6b7169203331-00", hexadecimal()),
    );
    headers
}

/// 32 random digits.
pub(crate) fn hexadecimal() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = || RandomState::new().build_hasher().finish() | 1;
    format!("{:016x}{:016x}", random(), random())
}
