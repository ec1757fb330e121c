//! One transaction from begin to commit: the inbox first, then the function, then the commit.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{DbErr, TransactionTrait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::db::Db;
use super::inbox::{self, Claim, Pruned};
use super::patience::down;
use super::statement_span::traced;
use super::tx::Tx;
use crate::effect::{Inbox, Transaction};
use crate::error::Result;

/// A transaction that is lent to a function.
pub(super) struct SqlTransaction {
    tx: Tx,
    claim: Option<Claim>,
    done: HashSet<u64>,
    pruned: Arc<Pruned>,
    /// Declared last, so that it is given back last: the next writer begins when this one ended.
    _writer: Option<OwnedSemaphorePermit>,
}

impl SqlTransaction {
    pub(super) async fn begin(
        db: &Db,
        writer: Option<Arc<Semaphore>>,
        inbox: Option<Inbox<'_>>,
        pruned: &Arc<Pruned>,
    ) -> Result<Self> {
        let claim = inbox
            .and_then(|inbox| Claim::of(&inbox).transpose())
            .transpose()?;
        let begin = async {
            let writer = match writer {
                // The semaphore is never closed.
                Some(writer) => writer.acquire_owned().await.ok(),
                None => None,
            };
            let mut transaction = db.begin().await?;
            let mut done = HashSet::new();
            if let Some(claim) = &claim
                && !(claim.first && inbox::enter_first(&transaction, claim).await?)
            {
                if claim.first {
                    transaction.rollback().await?;
                    transaction = db.begin().await?;
                }
                done = inbox::enter(&transaction, claim).await?;
            }
            Ok::<_, DbErr>((Tx::at(transaction, db.place().clone()), done, writer))
        };
        let (tx, done, writer) = traced(db.place().transaction("BEGIN"), begin)
            .await
            .map_err(down)?;
        Ok(Self {
            tx,
            claim,
            done,
            pruned: pruned.clone(),
            _writer: writer,
        })
    }
}

impl Transaction for SqlTransaction {
    fn handle(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.tx.clone())
    }

    fn is_done(&self, seq: u64) -> bool {
        self.done.contains(&seq)
    }

    fn commit<'a>(self: Box<Self>, failed: &'a [u64]) -> BoxFuture<'a, Result<()>> {
        async move {
            let transaction = self.tx.take_back().await?;
            let pruned = self
                .claim
                .as_ref()
                .and_then(|claim| self.pruned.up_to(claim));
            let due = self.claim.as_ref().filter(|claim| claim.is_due(pruned));
            let commit = async {
                if let Some(claim) = self.claim.as_ref().filter(|_| !failed.is_empty()) {
                    inbox::leave(&transaction, claim, failed).await?;
                }
                if let Some(claim) = due {
                    inbox::prune(&transaction, claim, pruned).await?;
                }
                transaction.commit().await
            };
            traced(self.tx.place().transaction("COMMIT"), commit).await?;
            if let Some(claim) = due {
                self.pruned.note(claim);
            }
            Ok(())
        }
        .boxed()
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            if let Err(error) = self.tx.roll_back().await {
                tracing::debug!(%error, "not rolled back by command; the connection's end does it");
            }
        }
        .boxed()
    }
}

impl Drop for SqlTransaction {
    /// Ends the transaction also where a task of the function's still holds it.
    fn drop(&mut self) {
        self.tx.abandon();
    }
}
