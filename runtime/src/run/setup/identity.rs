//! The id of the service's database, by which its consumers know it; and what becomes of one that
//! somebody has deleted.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::function::database::{Database, Schema};

/// The id that a database is to have again which has lost its own: the one that the service's
/// consumers carry (`noted`), else a new one. None where it has its id, or is not set up yet.
///
/// # Errors
/// The consumers carry different ids, so nobody can tell which of them was this one's.
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

/// What is told of it.
pub(super) fn line(id: &str) -> String {
    format!(
        "database: has lost its id (the row in natsfn_database); {id}, by which its consumers know it, is written back"
    )
}
