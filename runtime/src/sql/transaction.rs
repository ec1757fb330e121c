//! One transaction from begin to commit: the inbox first, then the function, then the commit.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::DbErr;

use super::db::Db;
use super::inbox::{self, Claim, Progress, Pruned};
use super::statement_span::traced;
use super::tx::Tx;
use crate::error::Result;
use crate::function::database::{Inbox, Transaction};
use crate::sql::reuse::Reuse;
use crate::sql::timeout::down;

/// A transaction that a function uses.
pub(super) struct SqlTransaction {
    tx: Tx,
    claim: Option<(Claim, Progress)>,
    done: HashSet<u64>,
    pruned: Arc<Pruned>,
    reuse: Reuse,
}

impl SqlTransaction {
    pub(super) async fn begin(
        db: &Db,
        inbox: Option<Inbox<'_>>,
        pruned: &Arc<Pruned>,
    ) -> Result<Self> {
        let claim = inbox
            .and_then(|inbox| Claim::of(&inbox).transpose())
            .transpose()?;
        let begin = async {
            let mut transaction = db.open().await?;
            let mut done = HashSet::new();
            let mut entered = None;
            if let Some(claim) = claim {
                let progress = match pruned.progress_of(&claim.life) {
                    Some(progress) => Some(progress),
                    None => Progress::read(&transaction, &claim.life).await?,
                };
                if progress.is_none() {
                    // By itself: all others would wait until the call that began it is over.
                    transaction.rollback().await?;
                    inbox::begin_life(&**db, &claim.life).await?;
                    transaction = db.open().await?;
                }
                let progress = progress.unwrap_or_default();
                let is_first = claim.may_be_first(&progress);
                if !(is_first && inbox::enter_first(&transaction, &claim, &progress).await?) {
                    if is_first {
                        transaction.rollback().await?;
                        transaction = db.open().await?;
                    }
                    done = inbox::enter(&transaction, &claim, &progress).await?;
                }
                entered = Some((claim, progress));
            }
            Ok::<_, DbErr>((
                Tx::at(transaction, db.database_name().clone(), db.reuse().clone()),
                entered,
                done,
            ))
        };
        let (tx, claim, done) = traced(db.database_name().transaction("BEGIN"), begin)
            .await
            .inspect_err(|error| db.reuse().seen_of_error(error))
            .map_err(down)?;
        Ok(Self {
            tx,
            claim,
            done,
            pruned: pruned.clone(),
            reuse: db.reuse().clone(),
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
                .and_then(|(claim, _)| self.pruned.progress_of(&claim.life)?.floor);
            let due = self
                .claim
                .as_ref()
                .filter(|(claim, _)| claim.is_due(pruned));
            let commit = async {
                if due.is_some() || !failed.is_empty() {
                    inbox::own_tables(&transaction).await?;
                }
                if let Some((claim, _)) = self.claim.as_ref().filter(|_| !failed.is_empty()) {
                    inbox::leave(&transaction, claim, failed).await?;
                }
                if let Some((claim, _)) = due {
                    inbox::prune(&transaction, claim, pruned).await?;
                }
                transaction.commit().await
            };
            let committed = traced(self.tx.database_name().transaction("COMMIT"), commit).await;
            self.reuse.seen(committed)?;
            if let Some((claim, progress)) = due {
                self.pruned
                    .note(&claim.life, claim.floor, &claim.filter, progress);
            }
            Ok(())
        }
        .boxed()
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            if let Err(error) = self.reuse.seen(self.tx.roll_back().await) {
                tracing::debug!(%error, "ROLLBACK failed; closing the connection rolls back");
            }
        }
        .boxed()
    }
}

impl Drop for SqlTransaction {
    /// Ends the transaction even if a task of the function still holds it.
    fn drop(&mut self) {
        self.tx.abandon();
    }
}
