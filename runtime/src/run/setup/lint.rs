//! No stream of the account may capture a function's subject: it would answer the request itself,
//! with a PubAck, and keep it. None should capture what a stream republishes from batches.

use async_nats::Client;
use serde::Deserialize;
use serde_json::json;

use crate::error::run_error::RunError;
use crate::function::template::{Template, overlap};
use crate::nats::jetstream::{call, calls};
use crate::service::definition::Definition;
use crate::service::trigger::state_subject;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Option<Vec<Listed>>,
    total: usize,
}

#[derive(Deserialize)]
struct Listed {
    config: async_nats::jetstream::stream::Config,
}

/// Looks at every stream of the account. Returns what somebody should see to, a line each.
pub(super) async fn lint(service: &Definition, nats: &Client) -> Result<Vec<String>, RunError> {
    let own = service.all_streams();
    let mut warnings = Vec::new();
    let mut subjects: Vec<(String, String)> = Vec::new();
    for function in &service.functions {
        let subject = match function.subject() {
            Some(text) => {
                let template = Template::parse(text).map_err(RunError::new)?;
                template.subject().to_owned()
            }
            None => state_subject(&service.name, function.name()),
        };
        subjects.push((function.name().to_owned(), subject));
    }
    let mut problems = Vec::new();
    let mut seen = 0;
    loop {
        let answer: Answer = call(nats, calls::LIST_STREAMS, &json!({ "offset": seen }))
            .await
            .map_err(|error| RunError::new(error.to_string()))?;
        let streams = answer.streams.unwrap_or_default();
        if streams.is_empty() {
            break;
        }
        seen += streams.len();
        for Listed { config } in streams {
            for captured in &config.subjects {
                for (function, subject) in &subjects {
                    if overlap(captured, subject) {
                        problems.push(format!(
                            "the stream {} captures {captured:?}, and with it {subject:?} of the function {function:?}: it would answer requests itself",
                            config.name
                        ));
                    }
                }
            }
            if own.iter().all(|stream| stream.name() != config.name) {
                let captured = || config.subjects.iter().map(String::as_str);
                warnings.extend(
                    own.iter().filter_map(|stream| {
                        stream.republishes_batches_to(&config.name, captured())
                    }),
                );
            }
        }
        if seen >= answer.total {
            break;
        }
    }
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(RunError::misuse(problems))
    }
}
