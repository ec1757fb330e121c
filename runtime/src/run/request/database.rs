//! The part of a request's path that needs the database.

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::EndpointRuntime;
use crate::error::{Error, Kind, Result};
use crate::function::database::Database;
use crate::function::event::Request;
use crate::function::invoke::invoke;
use crate::function::reply::Response;

impl EndpointRuntime {
    pub(super) async fn with_database(
        &self,
        database: &dyn Database,
        request: Request,
        deadline: Instant,
        span: &tracing::Span,
    ) -> Result<Response> {
        in_time(deadline, database.check()).await?;
        if !self.call.needs.transaction {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            return invoke(&self.call, request, now, left, span.clone()).await;
        }
        let mut times = 0;
        loop {
            let call = self.with_transaction(database, request.again(), deadline, span);
            match call.await {
                // It was rolled back.
                Err(error) if database.runs_again(&error, times).await => times += 1,
                answer => return answer,
            }
        }
    }

    async fn with_transaction(
        &self,
        database: &dyn Database,
        mut request: Request,
        deadline: Instant,
        span: &tracing::Span,
    ) -> Result<Response> {
        // Declared before the transaction, so that the next one begins once that has ended.
        let _place = in_time(deadline, database.place().map(Ok)).await?;
        let transaction = in_time(deadline, database.begin(None)).await?;
        request.context = request.context.with(transaction.handle());
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let answer = invoke(&self.call, request, now, left, span.clone()).await;
        match answer {
            Ok(response) => in_time(deadline, transaction.commit(&[]))
                .await
                .map(|()| response),
            Err(error) => {
                // One that is not over by then ends with its connection; the caller hears why.
                let _ = timeout_at(deadline, transaction.rollback()).await;
                Err(error)
            }
        }
    }
}

/// Beginning and committing wait for the database, but not longer than the request's deadline.
async fn in_time<T>(deadline: Instant, database: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::new(Kind::Timeout, "the database did not answer in time");
    timeout_at(deadline, database)
        .await
        .unwrap_or_else(|_| Err(late()))
}
