//! A transaction for a test.

use std::sync::Arc;

use sea_orm::DatabaseConnection;

use super::{OpenTransaction, Tx};
use crate::error::Result;
use crate::sql::reuse::Reuse;
use crate::sql::statement_span::DatabaseName;
use crate::sql::timeout::bounded;

impl Tx {
    /// Begins one on PostgreSQL or SQLite, as the runtime does before a function; for tests.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin_on(db: &DatabaseConnection) -> Result<Self> {
        let transaction = bounded(OpenTransaction::begin(db)).await?;
        let place = DatabaseName::backend(db.get_database_backend());
        Ok(Self::at(transaction, Arc::new(place), Reuse::default()))
    }

    /// Commits, as the runtime does after a function; for tests.
    ///
    /// # Errors
    /// Somebody still holds a clone, a statement had failed, or the database's own error.
    pub async fn commit(self) -> Result<()> {
        let transaction = self.take_back().await?;
        Ok(bounded(transaction.commit()).await?)
    }
}
