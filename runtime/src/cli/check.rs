//! What is wrong with the addresses of a configuration, found before anything is connected to.

use crate::connect::addresses;
use crate::{Definition, RunError};

/// Checks the addresses that a command needs, and names every wrong or missing one at once.
pub(super) fn check_addresses(
    definition: &Definition,
    nats_url: &str,
    database_url: Option<&str>,
) -> Result<(), RunError> {
    let mut mistakes = wrong(definition, nats_url, database_url);
    if definition.database.is_some() && database_url.is_none() {
        mistakes.push(format!(
            "database.url: is missing, and {} keeps its data in a database",
            definition.name()
        ));
    }
    refuse(mistakes)
}

/// Checks the addresses that are given, where a command has its own for those that are not.
pub(super) fn check_given(
    definition: &Definition,
    nats_url: &str,
    database_url: Option<&str>,
) -> Result<(), RunError> {
    refuse(wrong(definition, nats_url, database_url))
}

fn wrong(definition: &Definition, nats_url: &str, database_url: Option<&str>) -> Vec<String> {
    let mut mistakes: Vec<String> = addresses(nats_url).err().into_iter().collect();
    if let (Some(database), Some(url)) = (&definition.database, database_url)
        // A pool connects when it is first used, and this one never is.
        && let Err(error) = database.open(url)
    {
        mistakes.extend_from_slice(error.lines());
    }
    mistakes
}

fn refuse(mistakes: Vec<String>) -> Result<(), RunError> {
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(RunError::misuse(mistakes))
    }
}
