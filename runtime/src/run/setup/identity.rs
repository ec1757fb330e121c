//! The id of the service's database, which its consumers carry too; restores one that somebody has
//! deleted.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::function::database::{Database, Schema};

/// The id to restore in a database that has lost its own: the one that the service's consumers carry
/// (`noted`), or a new one. `None` if the database has its id or is not set up yet.
///
/// # Errors
/// The consumers carry different ids, so the right one is unknown.
pub(super) async fn lost(
    database: &dyn Database,
    noted: &BTreeSet<String>,
) -> Result<Option<String>> {
    match database.schema().await? {
        Schema::Known if database.identity().await?.is_none() => {}
        _ => return Ok(None),
    }
    if noted.len() > 1 {
        let ids: Vec<&str> = noted.iter().map(String::as_str).collect();
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "the database that database.url names has lost its id (a row in natsfn_database), and the consumers carry different ones: {}; write the right one: INSERT INTO natsfn_database (id) VALUES ('ID')",
                ids.join(", ")
            ),
        ));
    }
    let first = noted.first().cloned();
    Ok(Some(first.unwrap_or_else(|| nuid::next().to_string())))
}

/// The line for the operator.
pub(super) fn line(id: &str) -> String {
    format!(
        "database: has lost its id (the row in natsfn_database); {id}, by which its consumers know it, is written back"
    )
}
