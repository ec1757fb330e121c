//! sea-orm's connection traits for the runtime's own types, each statement with a limit.

use futures_util::future::BoxFuture;
use sea_orm::TransactionError::{self, Connection, Transaction};
use sea_orm::{DbErr, TransactionSession};

/// A method of one of sea-orm's traits. It has the signature that `async_trait` gives it, but its body stands in a
/// function without the method's lifetimes: with those the compiler would prove, for each method anew, that all of sqlx
/// may be sent to another thread (a fifth of the time to check this crate).
macro_rules! method {
    ($type:ty, $name:ident($($argument:ident: $of:ty),*) -> $answer:ty, |$this:ident| $body:expr) => {
        fn $name<'a, 'future>(
            &'a self,
            $($argument: $of,)*
        ) -> futures_util::future::BoxFuture<'future, Result<$answer, sea_orm::DbErr>>
        where
            'a: 'future,
            Self: 'future,
        {
            fn body<'a>(
                $this: &'a $type,
                $($argument: $of,)*
            ) -> futures_util::future::BoxFuture<'a, Result<$answer, sea_orm::DbErr>> {
                Box::pin(async move { $body })
            }
            body(self, $($argument),*)
        }
    };
    ($type:ty, $name:ident(&$argument:ident: $of:ty) -> $answer:ty, |$this:ident| $body:expr) => {
        fn $name<'a, 'b, 'future>(
            &'a self,
            $argument: &'b $of,
        ) -> futures_util::future::BoxFuture<'future, Result<$answer, sea_orm::DbErr>>
        where
            'a: 'future,
            'b: 'future,
            Self: 'future,
        {
            fn body<'a>(
                $this: &'a $type,
                $argument: &'a $of,
            ) -> futures_util::future::BoxFuture<'a, Result<$answer, sea_orm::DbErr>> {
                Box::pin(async move { $body })
            }
            body(self, $argument)
        }
    };
}

/// Runs a statement by a method of the connection below; once more where its plan was of an earlier
/// schema and it may run again.
macro_rules! run_statement {
    ($this:ident, $method:ident, $statement:ident) => {{
        let held = $this.held().await?;
        let span = |statement: &sea_orm::Statement| {
            let parameters = statement.values.is_some();
            $this.database_name().statement(&statement.sql, parameters)
        };
        let spare = $this.spare(&$statement);
        let first = span(&$statement);
        let done = $this.run(&held, first, held.$method($statement)).await;
        match (done, spare) {
            (Err(error), Some(statement)) if crate::error::database::is_stale(&error) => {
                let again = span(&statement);
                $this.run(&held, again, held.$method(statement)).await
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
        impl sea_orm::ConnectionTrait for $type {
            fn get_database_backend(&self) -> sea_orm::DbBackend {
                self.backend()
            }

            crate::sql::delegate::method!(
                $type,
                execute_raw(statement: sea_orm::Statement) -> sea_orm::ExecResult,
                |this| crate::sql::delegate::run_statement!(this, execute_raw, statement)
            );

            crate::sql::delegate::method!(
                $type,
                execute_unprepared(&sql: str) -> sea_orm::ExecResult,
                |this| {
                    let held = this.held().await?;
                    let span = this.database_name().statement(sql, false);
                    this.run(&held, span, held.execute_unprepared(sql)).await
                }
            );

            crate::sql::delegate::method!(
                $type,
                query_one_raw(statement: sea_orm::Statement) -> Option<sea_orm::QueryResult>,
                |this| crate::sql::delegate::run_statement!(this, query_one_raw, statement)
            );

            crate::sql::delegate::method!(
                $type,
                query_all_raw(statement: sea_orm::Statement) -> Vec<sea_orm::QueryResult>,
                |this| crate::sql::delegate::run_statement!(this, query_all_raw, statement)
            );
        }
    };
}

/// `TransactionTrait` by a type that has `start(TransactionOptions)`, which makes a `$transaction`.
macro_rules! transactions {
    ($type:ty => $transaction:ty) => {
        impl sea_orm::TransactionTrait for $type {
            type Transaction = $transaction;

            crate::sql::delegate::method!($type, begin() -> $transaction, |this| {
                this.start(sea_orm::TransactionOptions::default()).await
            });

            crate::sql::delegate::method!(
                $type,
                begin_with_config(
                    isolation_level: Option<sea_orm::IsolationLevel>,
                    access_mode: Option<sea_orm::AccessMode>
                ) -> $transaction,
                |this| {
                    this.start(sea_orm::TransactionOptions {
                        isolation_level,
                        access_mode,
                        sqlite_transaction_mode: None,
                    })
                    .await
                }
            );

            crate::sql::delegate::method!(
                $type,
                begin_with_options(options: sea_orm::TransactionOptions) -> $transaction,
                |this| this.start(options).await
            );

            fn transaction<'a, 'future, F, T, E>(
                &'a self,
                callback: F,
            ) -> futures_util::future::BoxFuture<'future, Result<T, sea_orm::TransactionError<E>>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    ) -> futures_util::future::BoxFuture<'c, Result<T, E>>
                    + Send
                    + 'future,
                T: Send + 'future,
                E: std::fmt::Display + std::fmt::Debug + Send + 'future,
                'a: 'future,
                Self: 'future,
            {
                crate::sql::delegate::within(self.begin(), callback)
            }

            fn transaction_with_config<'a, 'future, F, T, E>(
                &'a self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> futures_util::future::BoxFuture<'future, Result<T, sea_orm::TransactionError<E>>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    ) -> futures_util::future::BoxFuture<'c, Result<T, E>>
                    + Send
                    + 'future,
                T: Send + 'future,
                E: std::fmt::Display + std::fmt::Debug + Send + 'future,
                'a: 'future,
                Self: 'future,
            {
                let begun = self.begin_with_config(isolation_level, access_mode);
                crate::sql::delegate::within(begun, callback)
            }
        }
    };
}

/// Runs a callback within a transaction, which is committed where that returns Ok.
pub(super) fn within<'future, X, F, T, E>(
    begun: BoxFuture<'future, Result<X, DbErr>>,
    callback: F,
) -> BoxFuture<'future, Result<T, TransactionError<E>>>
where
    X: TransactionSession + Send + Sync + 'future,
    F: for<'c> FnOnce(&'c X) -> BoxFuture<'c, Result<T, E>> + Send + 'future,
    T: Send + 'future,
    E: Send + 'future,
{
    Box::pin(async move {
        let transaction = begun.await.map_err(Connection)?;
        match callback(&transaction).await {
            Ok(value) => {
                transaction.commit().await.map_err(Connection)?;
                Ok(value)
            }
            Err(error) => {
                transaction.rollback().await.map_err(Connection)?;
                Err(Transaction(error))
            }
        }
    })
}

pub(super) use {connection, method, run_statement, transactions};
