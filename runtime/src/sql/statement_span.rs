//! What a span says of a statement: never the values that it carries.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DatabaseConnectionType, DbBackend, DbErr};
use tracing::{Instrument, Span};

use super::kind::{kind_of, state_of};
use super::patience::bounded;
use crate::telemetry::{self, Attribute, Details, Parent, Role};

/// A statement is told up to here: one that writes a batch on SQLite repeats itself.
const MAX_TEXT: usize = 2_000;

/// A database, as spans name it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    system: &'static str,
    namespace: String,
    server: Option<(String, u16)>,
}

impl Place {
    pub(super) fn of(connection: &DatabaseConnection) -> Arc<Self> {
        Arc::new(match &connection.inner {
            DatabaseConnectionType::SqlxPostgresPoolConnection(_) => {
                let options = connection.get_postgres_connection_pool().connect_options();
                Self {
                    namespace: options.get_database().unwrap_or_default().to_owned(),
                    server: Some((options.get_host().to_owned(), options.get_port())),
                    ..Self::backend(DbBackend::Postgres)
                }
            }
            DatabaseConnectionType::SqlxSqlitePoolConnection(_) => {
                let options = connection.get_sqlite_connection_pool().connect_options();
                let file = options.get_filename().file_name().unwrap_or_default();
                Self {
                    namespace: file.to_string_lossy().into_owned(),
                    ..Self::backend(DbBackend::Sqlite)
                }
            }
            _ => Self::backend(connection.get_database_backend()),
        })
    }

    /// A database of which nothing is known but its kind.
    pub(super) fn backend(backend: DbBackend) -> Self {
        Self {
            system: match backend {
                DbBackend::Postgres => "postgresql",
                DbBackend::Sqlite => "sqlite",
                _ => "other_sql",
            },
            namespace: String::new(),
            server: None,
        }
    }

    /// What a statement runs in. One without parameters has its values in its text.
    pub(super) fn statement(&self, sql: &str, has_parameters: bool) -> Span {
        telemetry::call(Role::Client, Parent::Current, || {
            let text = if has_parameters {
                sql.to_owned()
            } else {
                without_literals(sql)
            };
            let (operation, collection) = summary(sql);
            let mut attributes = self.attributes(operation.clone());
            attributes.push(("db.query.text", shortened(text).into()));
            let name = match collection {
                Some(collection) => {
                    let name = format!("{operation} {collection}");
                    attributes.push(("db.collection.name", collection.into()));
                    name
                }
                None => operation,
            };
            Details { name, attributes }
        })
    }

    /// What a transaction begins or is committed in.
    pub(super) fn transaction(&self, operation: &'static str) -> Span {
        telemetry::call(Role::Client, Parent::Current, || Details {
            name: operation.to_owned(),
            attributes: self.attributes(operation.to_owned()),
        })
    }

    fn attributes(&self, operation: String) -> Vec<Attribute> {
        let mut attributes: Vec<Attribute> = vec![
            ("db.system.name", self.system.into()),
            ("db.operation.name", operation.into()),
        ];
        if !self.namespace.is_empty() {
            attributes.push(("db.namespace", self.namespace.clone().into()));
        }
        if let Some((address, port)) = &self.server {
            attributes.push(("server.address", address.clone().into()));
            attributes.push(("server.port", usize::from(*port).into()));
        }
        attributes
    }
}

/// Waits for the database within a span, though not for ever.
pub(super) async fn traced<T>(
    span: Span,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let done = bounded(work).instrument(span.clone()).await;
    if let Err(error) = &done {
        let state = state_of(error);
        telemetry::record(&span, || {
            let mut attributes: Vec<Attribute> = Vec::new();
            if let Some(state) = &state {
                attributes.push(("db.response.status_code", state.clone().into()));
            }
            let kind = kind_of(error).map_or("other", crate::Kind::name);
            let of = state.unwrap_or_else(|| kind.to_owned());
            attributes.push(("error.type", of.into()));
            attributes
        });
        // The database's own words may repeat a value.
        telemetry::mark_broken(&span);
    }
    done
}

/// The operation, and the table that it is about: what names a span, `INSERT messages`.
fn summary(sql: &str) -> (String, Option<String>) {
    let mut words = sql.split_whitespace();
    let operation = words.next().unwrap_or("SQL").to_uppercase();
    let before = match operation.as_str() {
        "INSERT" => Some("INTO"),
        "SELECT" | "DELETE" => Some("FROM"),
        "UPDATE" => None,
        _ => return (operation, None),
    };
    let mut words = sql.split_whitespace().skip(1);
    let table = match before {
        None => words.next(),
        Some(before) => words
            .by_ref()
            .find(|word| word.eq_ignore_ascii_case(before))
            .and_then(|_| words.next()),
    };
    let table = table.and_then(|word| {
        let name = word.split(['(', ';', ',']).next()?;
        let name = name.rsplit('.').next()?.trim_matches(['"', '`']);
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (plain && !name.is_empty()).then(|| name.to_owned())
    });
    (operation, table)
}

/// The statement with `?` for each text and number in it.
fn without_literals(sql: &str) -> String {
    let mut told = String::with_capacity(sql.len());
    let mut rest = sql.chars().peekable();
    let mut in_word = false;
    while let Some(c) = rest.next() {
        if c == '\'' {
            while let Some(c) = rest.next() {
                // Two of them are one within the text.
                if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                    break;
                }
            }
            told.push('?');
        } else if c.is_ascii_digit() && !in_word {
            while rest
                .next_if(|c| c.is_ascii_alphanumeric() || *c == '.')
                .is_some()
            {}
            told.push('?');
        } else {
            told.push(c);
        }
        in_word = c.is_alphanumeric() || matches!(c, '_' | '$');
    }
    told
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_its_operation_and_table() {
        let name = |sql| {
            let (operation, table) = summary(sql);
            format!("{operation} {}", table.unwrap_or_default())
        };
        assert_eq!(
            name("INSERT INTO \"messages\" (\"a\") VALUES ($1)"),
            "INSERT messages"
        );
        assert_eq!(
            name("select a, b from public.messages where a = $1"),
            "SELECT messages"
        );
        assert_eq!(name("UPDATE epochs SET floor = $1"), "UPDATE epochs");
        assert_eq!(name("DELETE FROM `t`;"), "DELETE t");
        assert_eq!(name("SELECT 1 FROM (SELECT 2)"), "SELECT ");
        assert_eq!(name("PRAGMA page_count"), "PRAGMA ");
    }

    #[test]
    fn values_in_a_text_are_not_told() {
        assert_eq!(
            without_literals("INSERT INTO t2 VALUES (7, 'it''s a secret', 1.5e3, $1)"),
            "INSERT INTO t2 VALUES (?, ?, ?, $1)"
        );
    }
}
