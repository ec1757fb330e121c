//! One life of a stream, as a function of a service reads it.

use std::time::UNIX_EPOCH;

use sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use crate::error::Result;
use crate::function::event::StreamId;

/// One function on one life of a stream. A recreated stream counts from 1 again: by its name alone, old
/// rows would hide new messages.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::sql) struct StreamLife {
    pub(super) service: String,
    pub(super) function: String,
    pub(super) stream: String,
    pub(super) created_ns: i64,
}

pub(super) const THIS_LIFE: &str =
    "life.service = $1 AND life.function = $2 AND life.stream = $3 AND life.stream_created_ns = $4";

impl StreamLife {
    pub(in crate::sql) fn new(service: &str, function: &str, stream: &StreamId) -> Self {
        let created = stream.created.duration_since(UNIX_EPOCH);
        let created = created.unwrap_or_default().as_nanos();
        Self {
            service: service.to_owned(),
            function: function.to_owned(),
            stream: stream.name.clone(),
            created_ns: i64::try_from(created).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn statement(
        &self,
        connection: &impl ConnectionTrait,
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
            connection.get_database_backend(),
            sql,
            key.into_iter().chain(more),
        )
    }
}

/// Ensures that the life exists, so that the next statement sees it, whoever created it. Asking first
/// is not enough: another process may have created it since the previous statement, which wrote no
/// rows.
pub(in crate::sql) async fn begin_life(
    connection: &impl ConnectionTrait,
    life: &StreamLife,
) -> Result<(), DbErr> {
    let begin = "INSERT INTO natsfn_life (service, function, stream, stream_created_ns) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (service, function, stream, stream_created_ns) DO NOTHING";
    connection
        .execute_raw(life.statement(connection, begin, None))
        .await
        .map(drop)
}
