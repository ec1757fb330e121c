//! What a service needs of PostgreSQL, checked by `setup` and at each start.

use sea_orm::sqlx::postgres::{PgConnection, PgPool};
use sea_orm::sqlx::{self, Connection, Row};

/// Why a service cannot work on this database, with the cure.
pub(crate) async fn unfit(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    let mut first = pool.acquire().await?;
    let encoding = text(&mut first, "SHOW server_encoding").await?;
    if encoding != "UTF8" {
        return Ok(Some(format!(
            "the database's encoding is {encoding}, which cannot hold every text: move it to one made with \
             CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    // Without a second connection this cannot be checked; later errors will tell.
    let Ok(mut second) = pool.acquire().await else {
        return Ok(None);
    };
    Ok(is_shared(&mut first, &mut second).await?.then(|| {
        "database.url names a pooler that gives each transaction another connection; prepared statements and time \
         limits do not survive that: let the pooler work in session mode, or name the server itself"
            .to_owned()
    }))
}

/// Whether both connections take turns on one connection to the server.
async fn is_shared(
    first: &mut PgConnection,
    second: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let before = text(first, PROCESS).await?;
    let mut transaction = second.begin().await?;
    let held = text(&mut transaction, PROCESS).await?;
    // While the transaction holds the server's connection of the first one, the first one gets another.
    let shared = before == held || before != text(first, PROCESS).await?;
    transaction.rollback().await?;
    Ok(shared)
}

const PROCESS: &str = "SELECT pg_backend_pid()::text";

/// Without a prepared statement, so that it works behind every pooler.
async fn text(connection: &mut PgConnection, sql: &'static str) -> Result<String, sqlx::Error> {
    sqlx::raw_sql(sql)
        .fetch_one(connection)
        .await?
        .try_get::<String, _>(0)
}

#[cfg(test)]
mod tests;
