//! Sending an answer.

use async_nats::HeaderMap;

use super::EndpointRuntime;
use crate::error::Error;
use crate::function::reply::Response;
use crate::nats::client::subject::check_length;
use crate::telemetry;

/// An upper bound of the headers' size on the wire.
fn header_size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, values)| {
            let name: &str = name.as_ref();
            values
                .iter()
                .map(|value| name.len() + value.as_str().len() + 4)
                .sum::<usize>()
        })
        .sum::<usize>()
        + 16
}

impl EndpointRuntime {
    /// Sends the answer, unless the reply subject begins with `$`: that is the server's API, where an
    /// answer would be a command with this service's permissions. Only an endpoint that the server
    /// itself asks may answer there.
    pub(super) async fn send(
        &self,
        nats: &async_nats::Client,
        reply: async_nats::Subject,
        response: Response,
        trace_id: Option<&str>,
        span: &tracing::Span,
    ) {
        let codec = self.endpoint.codec.as_ref();
        if reply.starts_with('$') && !codec.is_some_and(|codec| codec.may_answer(&reply)) {
            span.in_scope(
                || tracing::warn!(%reply, "not answered: the reply subject belongs to the server"),
            );
            return;
        }
        if let Err(error) = check_length(&reply) {
            span.in_scope(|| tracing::warn!(%error, "not answered"));
            return;
        }
        let size = response.payload.len() + header_size(&response.headers);
        let limit = nats.max_payload();
        let response = if size > limit {
            let error = Error::internal(format!(
                "the answer has {size} bytes, the server's max_payload is {limit}"
            ));
            self.stats.failed(&error);
            telemetry::mark_failed(span, &error);
            span.in_scope(|| self.log(&error));
            Response::error(&error, trace_id)
        } else {
            response
        };
        let sent = if response.headers.is_empty() {
            nats.publish(reply, response.payload).await
        } else {
            nats.publish_with_headers(reply, response.headers, response.payload)
                .await
        };
        if let Err(error) = sent {
            span.in_scope(|| tracing::warn!(%error, "an answer was not sent"));
        }
    }
}
