//! One call of a function for a batch: begin, function, commit, where it takes a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;

use super::attempt::Attempt;
use crate::error::{Error, Result};
use crate::function::context::Context;
use crate::function::database::{Database, Inbox};
use crate::function::event::{Delivery, Entry};
use crate::function::invoke::invoke;
use crate::function::reply::Outcomes;
use crate::telemetry::measure;
use crate::telemetry::stats::InFlight;

/// How long the database may take to begin or to commit. It is longer than the pool's own limits,
/// which know better what is wrong.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);

async fn patiently<T>(database: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DATABASE_TIMEOUT, database)
        .await
        .unwrap_or_else(|_| Err(Error::unavailable("the database does not answer")))
}

/// The database's own fault behind a failure that the function named. If there is one, nothing of the
/// batch is committed.
async fn fault(outcomes: &Outcomes, database: &dyn Database) -> Option<Error> {
    database.fault(outcomes.caused()?).await
}

impl Attempt {
    /// One run: begin, function, commit. Nothing is settled here.
    pub(crate) async fn once(&self, entries: &[Arc<Entry>]) -> Result<Outcomes> {
        let _in_flight = InFlight::new(&self.stats.in_flight);
        let started = Instant::now();
        let mut outcomes = self.run(entries).await;
        let mut times = 0;
        while let (Err(error), Some(database)) = (&outcomes, &self.database)
            && database.runs_again(error, times).await
        {
            times += 1;
            outcomes = self.run(entries).await;
        }
        if let (Err(error), Some(database)) = (&outcomes, &self.database)
            && let Some(fault) = database.fault(error).await
        {
            outcomes = Err(fault);
        }
        self.stats.processed(started.elapsed());
        let error = outcomes.as_ref().err().map(Error::kind);
        measure::processed(&self.source.labels, started.elapsed(), error);
        outcomes
    }

    async fn run(&self, entries: &[Arc<Entry>]) -> Result<Outcomes> {
        let mut context = Context::default();
        if let Some(client) = &self.client {
            context = context.with(Arc::new(client.clone()));
        }
        let needs = &self.call.needs;
        if !(needs.database || needs.transaction) {
            let outcomes = self.call(entries.to_vec(), context).await?;
            self.failpoint("ack").await?;
            return Ok(outcomes);
        }
        let database = self
            .database
            .as_ref()
            .ok_or_else(|| Error::internal("no database"))?;
        context = context.with(database.handle());
        patiently(database.check()).await?;
        if !needs.transaction {
            let outcomes = self.call(entries.to_vec(), context).await?;
            self.failpoint("ack").await?;
            return Ok(outcomes);
        }
        self.failpoint("begin").await?;
        let inbox = self.inbox.then_some(Inbox {
            service: &self.service,
            function: &self.function,
            entries,
            filter: &self.templates,
        });
        // Declared before the transaction, so that the next one begins once that has ended.
        let _place = database.place().await;
        let transaction = patiently(database.begin(inbox)).await?;
        let (done, fresh): (Vec<_>, Vec<_>) = entries
            .iter()
            .cloned()
            .partition(|entry| transaction.is_done(entry.seq()));
        let mut outcomes = if fresh.is_empty() {
            Outcomes::new()
        } else {
            context = context.with(transaction.handle());
            let called = match self.call(fresh, context).await {
                Ok(outcomes) => fault(&outcomes, &**database)
                    .await
                    .map_or(Ok(outcomes), Err),
                failed => failed,
            };
            match called {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    // A rollback that hangs does no harm: its connection is closed.
                    let _ = tokio::time::timeout(DATABASE_TIMEOUT, transaction.rollback()).await;
                    return Err(error);
                }
            }
        };
        self.failpoint("commit").await?;
        patiently(transaction.commit(&outcomes.failed_seqs())).await?;
        for entry in &done {
            outcomes.duplicate(entry);
        }
        self.failpoint("ack").await?;
        Ok(outcomes)
    }

    async fn call(&self, entries: Vec<Arc<Entry>>, context: Context) -> Result<Outcomes> {
        let delivery = Delivery {
            entries,
            templates: self.templates.clone(),
            context,
        };
        let (now, span) = (Instant::now(), Span::current());
        let outcomes = invoke(&self.call, delivery, now, self.deadline, span).await?;
        self.failpoint("insert").await?;
        Ok(outcomes)
    }
}
