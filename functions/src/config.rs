//! What can be configured beside the connection and the database.

use serde::Deserialize;

/// A log smaller than this would be full after some dozens of messages.
const LEAST_BYTES: i64 = 1 << 20;

/// chat's own keys.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits of what a person may send.
    pub send: Send,
    /// The log.
    pub stream: Stream,
}

/// `send.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Send {
    /// Messages a second from one person, over time.
    pub rate: f64,
    /// Messages at once after a pause.
    pub burst: u32,
}

/// `stream.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// The most bytes that the log holds. It is trimmed behind the database once it is half full;
    /// when it is full all the same, sending answers 503.
    pub max_bytes: i64,
    /// Servers that hold it: 1, 3 or 5.
    pub replicas: usize,
    /// Days for which what is stored stays in the log too: a backup of the database that is
    /// younger than that loses nothing.
    pub keep_days: u32,
}

impl Config {
    /// What no chat could run with, a sentence for each value.
    pub fn problems(&self) -> Vec<String> {
        let Self { send, stream } = self;
        let checks = [
            (
                send.rate.is_finite() && send.rate > 0.0,
                format!("send.rate: is {}, must be a number above 0", send.rate),
            ),
            (
                send.burst >= 1,
                format!("send.burst: is {}, must be at least 1", send.burst),
            ),
            (
                stream.max_bytes >= LEAST_BYTES,
                format!(
                    "stream.max_bytes: is {}, must be at least {LEAST_BYTES} (1 MiB)",
                    stream.max_bytes
                ),
            ),
            (
                matches!(stream.replicas, 1 | 3 | 5),
                format!("stream.replicas: is {}, must be 1, 3 or 5", stream.replicas),
            ),
            (
                stream.keep_days >= 1,
                format!(
                    "stream.keep_days: is {}, must be at least 1",
                    stream.keep_days
                ),
            ),
        ];
        checks
            .into_iter()
            .filter_map(|(is_right, problem)| (!is_right).then_some(problem))
            .collect()
    }
}

impl Default for Send {
    fn default() -> Self {
        Self {
            rate: 10.0,
            burst: 50,
        }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            replicas: 1,
            keep_days: 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_configuration_has_no_problem() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_value_is_named_at_once() {
        let config = Config {
            send: Send {
                rate: f64::NAN,
                burst: 0,
            },
            stream: Stream {
                max_bytes: (1 << 20) - 1,
                replicas: 2,
                keep_days: 0,
            },
        };

        let problems = config.problems();

        let keys = [
            "send.rate:",
            "send.burst:",
            "stream.max_bytes:",
            "stream.replicas:",
            "stream.keep_days:",
        ];
        assert_eq!(problems.len(), keys.len(), "{problems:?}");
        for (problem, key) in problems.iter().zip(keys) {
            assert!(problem.starts_with(key), "{key} in {problems:?}");
        }
    }

    #[test]
    fn rate_is_a_finite_number_above_zero() {
        for rate in [0.0, -1.0, f64::INFINITY] {
            let mut config = Config::default();
            config.send.rate = rate;
            assert_eq!(config.problems().len(), 1, "{rate}");
        }
    }
}
