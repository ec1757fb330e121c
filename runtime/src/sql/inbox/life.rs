//! One life of a stream, as a function of a service reads it.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement, Value};

use crate::error::Result;

/// One function on one life of a stream. A stream that is made again counts from 1 again, so its
/// name alone would hide new messages behind old rows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::sql) struct Life {
    pub(super) service: String,
    pub(super) function: String,
    pub(super) stream: String,
    pub(super) created_ns: i64,
}

pub(super) const THIS_LIFE: &str =
    "life.service = $1 AND life.function = $2 AND life.stream = $3 AND life.stream_created_ns = $4";

impl Life {
    pub(super) fn statement(
        &self,
        transaction: &DatabaseTransaction,
        sql: impl Into<String>,
        more: impl IntoIterator<Item = Value>,
    ) -> Statement {
        let Self {
            service,
            function,
            stream,
            created_ns,
        } = self;
        let key = [
            service.as_str().into(),
            function.as_str().into(),
            stream.as_str().into(),
            (*created_ns).into(),
        ];
        Statement::from_sql_and_values(
            transaction.get_database_backend(),
            sql,
            key.into_iter().chain(more),
        )
    }
}

/// Makes sure of the life: after this the next statement sees it, whoever began it. Asking first
/// whether it is there would not do: another may have begun it since the statement before, and
/// that one wrote no rows.
pub(super) async fn begin_life(
    transaction: &DatabaseTransaction,
    life: &Life,
) -> Result<(), DbErr> {
    let begin = "INSERT INTO natsfn_life (service, function, stream, stream_created_ns) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (service, function, stream, stream_created_ns) DO NOTHING";
    transaction
        .execute_raw(life.statement(transaction, begin, None))
        .await
        .map(drop)
}
