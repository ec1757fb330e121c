//! A table as the statements of a program need it, and what a database lacks of it.

mod catalog;

use sea_orm::sea_query::{ColumnType, StringLen};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic, Iterable,
    PrimaryKeyToColumn, Schema,
};

use catalog::{Catalog, Found};

/// A table that statements need. It may have more than this.
#[derive(Clone)]
pub(crate) struct Table {
    schema: Option<String>,
    name: String,
    columns: Vec<Column>,
    /// The columns of each unique key, the primary one among them.
    keys: Vec<Vec<String>>,
}

#[derive(Clone)]
struct Column {
    name: String,
    kind: ColumnType,
    /// The program may leave it empty.
    nullable: bool,
}

impl Table {
    /// As a sea-orm entity says.
    pub(super) fn of<E: EntityTrait>() -> Self {
        let entity = E::default();
        let columns = E::Column::iter().map(|column| {
            let definition = column.def();
            Column {
                name: column.as_str().to_owned(),
                kind: definition.get_column_type().clone(),
                nullable: definition.is_null(),
            }
        });
        let primary = E::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned());
        let single = E::Column::iter().filter(|column| column.def().is_unique());
        let composite = Schema::new(DbBackend::Sqlite).create_index_from_entity(entity);
        let composite = composite.iter().filter(|index| index.is_unique_key());
        let mut keys = vec![primary.collect()];
        keys.extend(single.map(|column| vec![column.as_str().to_owned()]));
        keys.extend(composite.map(|index| index.get_index_spec().get_column_names()));
        Self {
            schema: entity.schema_name().map(str::to_owned),
            name: entity.table_name().to_owned(),
            columns: columns.collect(),
            keys,
        }
    }

    /// The runtime's own tables.
    pub(super) fn own() -> [Self; 3] {
        use ColumnType::{BigInteger, Integer, Text};
        [
            Self::named(
                "natsfn_life",
                &[
                    ("id", Integer),
                    ("service", Text),
                    ("function", Text),
                    ("stream", Text),
                    ("stream_created_ns", BigInteger),
                    ("settled_seq", BigInteger),
                    ("settled_ns", BigInteger),
                    ("settled_filters", Text),
                ],
                &[
                    &["id"],
                    &["service", "function", "stream", "stream_created_ns"],
                ],
            ),
            Self::named(
                "natsfn_inbox",
                &[
                    ("life", Integer),
                    ("seq", BigInteger),
                    ("time_ns", BigInteger),
                ],
                &[&["life", "seq", "time_ns"]],
            ),
            Self::named("natsfn_database", &[("id", Text)], &[&["id"]]),
        ]
    }

    fn named(name: &str, columns: &[(&str, ColumnType)], keys: &[&[&str]]) -> Self {
        let columns = columns.iter().map(|(name, kind)| Column {
            name: (*name).to_owned(),
            kind: kind.clone(),
            nullable: false,
        });
        let keys = keys
            .iter()
            .map(|key| key.iter().map(|&column| column.to_owned()).collect());
        Self {
            schema: None,
            name: name.to_owned(),
            columns: columns.collect(),
            keys: keys.collect(),
        }
    }

    /// What keeps statements from working on the table that is there, each with its cure.
    fn problems(&self, catalog: &Catalog, postgres: bool) -> Vec<String> {
        let name = &self.name;
        if catalog.columns.is_empty() {
            return vec![format!("there is no table {name}")];
        }
        let mut problems = Vec::new();
        for column in &self.columns {
            match catalog.column(&column.name) {
                None => problems.push(format!(
                    "the table {name} has no column {}: give it back its name, or add it",
                    column.name
                )),
                Some(found) => problems.extend(column.problem(name, found, postgres)),
            }
        }
        let known = |found: &Found| self.columns.iter().any(|column| found.is(&column.name));
        for found in catalog.columns.iter().filter(|found| !known(found)) {
            if found.not_null && !found.has_default {
                problems.push(format!(
                    "the column {} of the table {name} is NOT NULL, and the program does not know it: \
                     give it a default, or drop its NOT NULL",
                    found.name
                ));
            }
        }
        let missing = |key: &&Vec<String>| catalog.is_table && !catalog.is_unique(key);
        for key in self.keys.iter().filter(missing) {
            problems.push(format!(
                "the table {name} has no unique key ({}): CREATE UNIQUE INDEX {name}_{} ON {name} ({})",
                key.join(", "),
                key.join("_"),
                key.join(", ")
            ));
        }
        problems
    }
}

impl Column {
    fn problem(&self, table: &str, found: &Found, postgres: bool) -> Option<String> {
        let takes = if postgres {
            postgres_takes(&self.kind, &found.base, found.limit)
        } else {
            sqlite_takes(&self.kind, &found.base)
        };
        if let Some(wanted) = takes.err() {
            return Some(format!(
                "the column {} of the table {table} is {}, and the program needs {wanted}: change its type back",
                self.name, found.kind
            ));
        }
        (self.nullable && found.not_null).then(|| {
            format!(
                "the column {} of the table {table} is NOT NULL, and the program leaves it empty: drop its NOT NULL",
                self.name
            )
        })
    }
}

/// Whether a column takes what the program writes and gives what it reads; the error is the type
/// that it should have. Types that are not known here are not judged.
fn postgres_takes(kind: &ColumnType, found: &str, limit: Option<u32>) -> Result<(), String> {
    use ColumnType as C;
    let (wanted, also): (&str, &[&str]) = match kind {
        C::Char(_) | C::String(_) | C::Text => ("text", &["varchar", "bpchar", "name", "citext"]),
        C::SmallInteger => ("smallint", &["int2"]),
        C::Integer => ("integer", &["int4"]),
        C::BigInteger => ("bigint", &["int8"]),
        C::Float => ("real", &["float4"]),
        C::Double => ("double precision", &["float8"]),
        C::Boolean => ("boolean", &["bool"]),
        C::Timestamp | C::DateTime => ("timestamp", &[]),
        C::TimestampWithTimeZone => ("timestamptz", &[]),
        C::Date => ("date", &[]),
        C::Time => ("time", &[]),
        C::Blob | C::Binary(_) | C::VarBinary(_) => ("bytea", &[]),
        C::Json | C::JsonBinary => ("json", &["jsonb"]),
        C::Uuid => ("uuid", &[]),
        _ => return Ok(()),
    };
    if found != wanted && !also.contains(&found) {
        return Err(wanted.to_owned());
    }
    let room = match kind {
        C::Text => u32::MAX,
        C::Char(Some(n)) | C::String(StringLen::N(n)) => *n,
        _ => 0,
    };
    match limit {
        Some(limit) if limit < room && room == u32::MAX => Err("text without a limit".to_owned()),
        Some(limit) if limit < room => Err(format!("text of {room} characters")),
        _ => Ok(()),
    }
}

/// The same for SQLite, which goes by what a type's name contains.
fn sqlite_takes(kind: &ColumnType, found: &str) -> Result<(), String> {
    use ColumnType as C;
    let (wanted, is_good): (&str, fn(&str) -> bool) = match kind {
        C::Char(_) | C::String(_) | C::Text => ("text", is_text),
        C::TinyInteger
        | C::SmallInteger
        | C::Integer
        | C::BigInteger
        | C::TinyUnsigned
        | C::SmallUnsigned
        | C::Unsigned
        | C::BigUnsigned => ("integer", is_integer),
        C::Boolean => ("boolean", |found| is_integer(found) || found == "BOOLEAN"),
        _ => return Ok(()),
    };
    let found = found.to_uppercase();
    // Without a type it takes everything as it comes.
    let is_any = found.is_empty() || found == "ANY";
    if is_any || is_good(&found) {
        Ok(())
    } else {
        Err(wanted.to_owned())
    }
}

fn is_integer(found: &str) -> bool {
    found.contains("INT")
}

fn is_text(found: &str) -> bool {
    let words = ["CHAR", "CLOB", "TEXT"];
    !is_integer(found) && words.iter().any(|word| found.contains(word))
}

/// What of these tables the database lacks, in one sentence; None where nothing is missing.
pub(super) async fn lack(
    db: &impl ConnectionTrait,
    tables: &[Table],
) -> Result<Option<String>, DbErr> {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let mut problems = Vec::new();
    for table in tables.iter().cloned().chain(Table::own()) {
        let catalog = Catalog::of(db, table.schema.as_deref(), &table.name).await?;
        problems.extend(table.problems(&catalog, postgres));
    }
    Ok((!problems.is_empty()).then(|| {
        format!(
            "the database's schema is not the one that this program needs, though every migration was applied: {}",
            problems.join("; ")
        )
    }))
}

#[cfg(test)]
mod tests;
