//! sea-orm's connection traits for the runtime's own types, each statement with a limit.

/// Runs a statement by a method of the connection below; once more where its plan was of an earlier
/// schema and it may run again.
macro_rules! run_statement {
    ($self:ident, $method:ident, $statement:ident) => {{
        let held = $self.held().await?;
        let span = |statement: &sea_orm::Statement| {
            let parameters = statement.values.is_some();
            $self.database_name().statement(&statement.sql, parameters)
        };
        let spare = $self.spare(&$statement);
        let first = span(&$statement);
        let done = $self.run(&held, first, held.$method($statement)).await;
        match (done, spare) {
            (Err(error), Some(statement)) if crate::error::database::is_stale(&error) => {
                let again = span(&statement);
                $self.run(&held, again, held.$method(statement)).await
            }
            (done, _) => done,
        }
    }};
}

/// `ConnectionTrait` by a type that has `backend()`, `database_name()` (what spans say of the database),
/// `held()` (the connection below, or why it is gone) and `run()` (which runs a statement on it in a
/// span and takes note of what it came to) and `spare()` (the statement, where it may run again at
/// once on another connection).
macro_rules! connection {
    ($type:ty) => {
        #[sea_orm::prelude::async_trait::async_trait]
        impl sea_orm::ConnectionTrait for $type {
            fn get_database_backend(&self) -> sea_orm::DbBackend {
                self.backend()
            }

            async fn execute_raw(
                &self,
                statement: sea_orm::Statement,
            ) -> Result<sea_orm::ExecResult, sea_orm::DbErr> {
                crate::sql::delegate::run_statement!(self, execute_raw, statement)
            }

            async fn execute_unprepared(
                &self,
                sql: &str,
            ) -> Result<sea_orm::ExecResult, sea_orm::DbErr> {
                let held = self.held().await?;
                let span = self.database_name().statement(sql, false);
                self.run(&held, span, held.execute_unprepared(sql)).await
            }

            async fn query_one_raw(
                &self,
                statement: sea_orm::Statement,
            ) -> Result<Option<sea_orm::QueryResult>, sea_orm::DbErr> {
                crate::sql::delegate::run_statement!(self, query_one_raw, statement)
            }

            async fn query_all_raw(
                &self,
                statement: sea_orm::Statement,
            ) -> Result<Vec<sea_orm::QueryResult>, sea_orm::DbErr> {
                crate::sql::delegate::run_statement!(self, query_all_raw, statement)
            }
        }
    };
}

/// `TransactionTrait` by a type that has `start(TransactionOptions)`, which makes a `$transaction`.
macro_rules! transactions {
    ($type:ty => $transaction:ty) => {
        #[sea_orm::prelude::async_trait::async_trait]
        impl sea_orm::TransactionTrait for $type {
            type Transaction = $transaction;

            async fn begin(&self) -> Result<$transaction, sea_orm::DbErr> {
                self.start(sea_orm::TransactionOptions::default()).await
            }

            async fn begin_with_config(
                &self,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<$transaction, sea_orm::DbErr> {
                self.start(sea_orm::TransactionOptions {
                    isolation_level,
                    access_mode,
                    sqlite_transaction_mode: None,
                })
                .await
            }

            async fn begin_with_options(
                &self,
                options: sea_orm::TransactionOptions,
            ) -> Result<$transaction, sea_orm::DbErr> {
                self.start(options).await
            }

            async fn transaction<F, T, E>(
                &self,
                callback: F,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    ) -> std::pin::Pin<
                        Box<dyn Future<Output = Result<T, E>> + Send + 'c>,
                    > + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                self.transaction_with_config(callback, None, None).await
            }

            async fn transaction_with_config<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    ) -> std::pin::Pin<
                        Box<dyn Future<Output = Result<T, E>> + Send + 'c>,
                    > + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                use sea_orm::TransactionError::{Connection, Transaction};
                let transaction = self
                    .begin_with_config(isolation_level, access_mode)
                    .await
                    .map_err(Connection)?;
                match callback(&transaction).await {
                    Ok(value) => transaction
                        .commit()
                        .await
                        .map(|()| value)
                        .map_err(Connection),
                    Err(error) => {
                        transaction.rollback().await.map_err(Connection)?;
                        Err(Transaction(error))
                    }
                }
            }
        }
    };
}

pub(super) use {connection, run_statement, transactions};
