//! A connection that sea-orm's statements and sqlx's may use.

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{AssertSqlSafe, Database, Executor, Postgres, SqlSafeStr, Sqlite};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values, sqlx,
};
use sea_query_sqlx::SqlxValues;

use super::OpenTransaction;
use crate::sql::delegate::method;

/// A connection, taken from its pool.
pub(super) enum Connection {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// Does the same with either connection.
macro_rules! on {
    ($connection:expr, |$inner:ident: $database:ident| $work:expr) => {
        match $connection {
            Connection::Postgres($inner) => {
                type $database = sea_orm::sqlx::Postgres;
                $work
            }
            Connection::Sqlite($inner) => {
                type $database = sea_orm::sqlx::Sqlite;
                $work
            }
        }
    };
}

pub(super) use on;

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

pub(super) fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

/// Whether a statement ends a transaction: a function's own COMMIT or ROLLBACK.
fn may_end(statement: &str) -> bool {
    let word = statement.split_whitespace().next().unwrap_or_default();
    ["COMMIT", "END", "ROLLBACK", "ABORT"]
        .iter()
        .any(|it| word.eq_ignore_ascii_case(it))
}

fn query_of(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

impl ConnectionTrait for OpenTransaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend()
    }

    method!(OpenTransaction, execute_raw(statement: Statement) -> ExecResult, |this| {
        let may_end = may_end(&statement.sql);
        let (sql, values) = query_of(statement);
        let work = async |connection: &mut Connection| {
            on!(connection, |it: D| {
                let done = sqlx::query_with::<D, _>(sql, values).execute(&mut **it);
                done.await.map(Into::into)
            })
            .map_err(exec_error)
        };
        this.run(may_end, work).await
    });

    method!(OpenTransaction, execute_unprepared(&sql: str) -> ExecResult, |this| {
        let may_end = sql.split(';').any(may_end);
        let sql = AssertSqlSafe(sql).into_sql_str();
        let work = async |connection: &mut Connection| {
            on!(connection, |it: D| {
                let done = <&mut <D as Database>::Connection>::execute(&mut **it, sql);
                done.await.map(Into::into)
            })
            .map_err(exec_error)
        };
        this.run(may_end, work).await
    });

    method!(OpenTransaction, query_one_raw(statement: Statement) -> Option<QueryResult>, |this| {
        let (sql, values) = query_of(statement);
        let work = async |connection: &mut Connection| {
            on!(connection, |it: D| {
                let row = sqlx::query_with::<D, _>(sql, values).fetch_optional(&mut **it);
                row.await.map(|row| row.map(Into::into))
            })
            .map_err(query_error)
        };
        this.run(false, work).await
    });

    method!(OpenTransaction, query_all_raw(statement: Statement) -> Vec<QueryResult>, |this| {
        let (sql, values) = query_of(statement);
        let work = async |connection: &mut Connection| {
            on!(connection, |it: D| {
                let rows = sqlx::query_with::<D, _>(sql, values).fetch_all(&mut **it);
                let rows = rows.await;
                rows.map(|rows| rows.into_iter().map(Into::into).collect())
            })
            .map_err(query_error)
        };
        this.run(false, work).await
    });
}
