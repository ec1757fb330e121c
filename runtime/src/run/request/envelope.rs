//! A request whose endpoint has a codec: opened before the function is called, and sealed after.

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::EndpointRuntime;
use crate::error::Result;
use crate::function::event::Request;
use crate::function::invoke;
use crate::function::reply::Response;
use crate::service::endpoint::codec::Envelope;

impl EndpointRuntime {
    /// Runs a request, and returns what its answer was put into, where the endpoint has a codec.
    pub(super) async fn sealed<'a>(
        &'a self,
        mut request: Request,
        arrived: Instant,
        span: &tracing::Span,
        turn: &mut Option<SemaphorePermit<'a>>,
    ) -> (Option<Box<dyn Envelope>>, Result<Response>) {
        let Some(codec) = &self.endpoint.codec else {
            return (None, self.answer(request, arrived, span, turn).await);
        };
        match invoke::guard(|| Ok(codec.open(&mut request))) {
            Err(error) => (None, Err(error)),
            Ok((envelope, Err(error))) => (Some(envelope), Err(error)),
            Ok((mut envelope, Ok(()))) => {
                let answer = self.answer(request, arrived, span, turn).await;
                let sealed = answer.and_then(|response| invoke::guard(|| envelope.seal(response)));
                (Some(envelope), sealed)
            }
        }
    }
}
