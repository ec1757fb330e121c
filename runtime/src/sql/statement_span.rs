//! What a span says of a statement: never the values that it carries.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DatabaseConnectionType, DbBackend, DbErr};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::error::database::{kind_of, state_of};
use crate::sql::timeout::bounded;
use crate::telemetry::{self, Attribute, Details, Parent, Role, measure};

/// A statement is told up to here: one that writes a batch on SQLite repeats itself.
const MAX_TEXT: usize = 2_000;

/// A database, as spans name it.
#[derive(Clone, Debug)]
pub(super) struct DatabaseName {
    system: &'static str,
    namespace: String,
    server: Option<(String, u16)>,
}

impl DatabaseName {
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
    pub(super) fn statement(&self, sql: &str, has_parameters: bool) -> TracedStatement {
        let span = below_current(|| {
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
        });
        TracedStatement {
            span,
            measured: measure::is_on().then(|| (self.system, summary(sql))),
        }
    }

    /// What a transaction begins or is committed in.
    pub(super) fn transaction(&self, operation: &'static str) -> TracedStatement {
        let span = below_current(|| Details {
            name: operation.to_owned(),
            attributes: self.attributes(operation.to_owned()),
        });
        let measured = || (self.system, (operation.to_owned(), None));
        TracedStatement {
            span,
            measured: measure::is_on().then(measured),
        }
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

/// A span of what is being worked in. A statement that belongs to no call of a function has none: upkeep would
/// fill the list of traces with ones of a single line.
fn below_current(details: impl FnOnce() -> Details) -> Span {
    if telemetry::is_in_trace() {
        telemetry::call(Role::Client, Parent::Current, details)
    } else {
        Span::none()
    }
}

/// A statement on its way: its span, and what its measurement is called.
pub(super) struct TracedStatement {
    span: Span,
    measured: Option<(&'static str, Summary)>,
}

/// Waits for the database within a statement's span, though not for ever.
pub(super) async fn traced<T>(
    asked: TracedStatement,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let TracedStatement { span, measured } = asked;
    let started = Instant::now();
    let done = bounded(work).instrument(span.clone()).await;
    let error = done.as_ref().err();
    if let Some(error) = error {
        telemetry::record(&span, || {
            let mut attributes: Vec<Attribute> = vec![("error.type", type_of(error).into())];
            if let Some(state) = state_of(error) {
                attributes.push(("db.response.status_code", state.into()));
            }
            attributes
        });
        // The database's own words may repeat a value.
        telemetry::mark_broken(&span);
    }
    if let Some((system, (operation, collection))) = measured {
        let collection = collection.as_deref();
        let time = started.elapsed();
        measure::queried(system, &operation, collection, time, error.map(type_of));
    }
    done
}

/// The database's own code, or what kind of failure it is.
fn type_of(error: &DbErr) -> String {
    let kind = || {
        kind_of(error)
            .map_or("other", crate::error::Kind::name)
            .to_owned()
    };
    state_of(error).unwrap_or_else(kind)
}

/// An operation, and the table that it is about.
type Summary = (String, Option<String>);

/// The operation, and the table that it is about: what names a span, `INSERT messages`.
fn summary(sql: &str) -> Summary {
    let sql = main_statement(sql);
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

/// What follows the common table expressions of a statement, else the whole.
fn main_statement(sql: &str) -> &str {
    let is_with = |word: &str| word.eq_ignore_ascii_case("WITH");
    if !sql.split_whitespace().next().is_some_and(is_with) {
        return sql;
    }
    let mut depth = 0_usize;
    let mut starts_word = true;
    for (at, c) in sql.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && starts_word => {
                let word = sql[at..].split_whitespace().next().unwrap_or_default();
                let mains = ["INSERT", "SELECT", "UPDATE", "DELETE"];
                if mains.iter().any(|main| word.eq_ignore_ascii_case(main)) {
                    return &sql[at..];
                }
            }
            _ => {}
        }
        starts_word = c.is_whitespace() || c == ')';
    }
    sql
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
        assert_eq!(
            name("WITH a AS (DELETE FROM b), c AS (SELECT 1) INSERT INTO d SELECT * FROM a"),
            "INSERT d"
        );
    }

    #[test]
    fn values_in_a_text_are_not_told() {
        assert_eq!(
            without_literals("INSERT INTO t2 VALUES (7, 'it''s a secret', 1.5e3, $1)"),
            "INSERT INTO t2 VALUES (?, ?, ?, $1)"
        );
    }
}
