//! A table's columns and keys, from the database's own catalog: it takes no locks, and every user may
//! read it.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// An existing table or view; without columns it does not exist.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) columns: Vec<Found>,
    /// A view has no keys of its own.
    pub(crate) is_table: bool,
    /// The columns of each unique index that holds for every row.
    keys: Vec<Vec<String>>,
    case: Case,
}

/// An existing column.
pub(crate) struct Found {
    pub(crate) name: String,
    /// Its type as a person writes it.
    pub(crate) kind: String,
    /// Its type's own name.
    pub(crate) base: String,
    /// The largest number of characters.
    pub(crate) limit: Option<u32>,
    pub(crate) not_null: bool,
    pub(crate) has_default: bool,
    case: Case,
}

/// Whether names that differ in case are different ones.
#[derive(Clone, Copy, Default, PartialEq)]
enum Case {
    #[default]
    Matters,
    Ignored,
}

impl Case {
    fn is(self, one: &str, other: &str) -> bool {
        one == other || (self == Self::Ignored && one.eq_ignore_ascii_case(other))
    }
}

impl Found {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.case.is(&self.name, name)
    }
}

impl Catalog {
    pub(crate) async fn of(
        db: &impl ConnectionTrait,
        schema: Option<&str>,
        table: &str,
    ) -> Result<Self, DbErr> {
        match db.get_database_backend() {
            DbBackend::Postgres => postgres(db, schema, table).await,
            _ => sqlite(db, table).await,
        }
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Found> {
        self.columns.iter().find(|found| found.is(name))
    }

    /// Whether a unique index of exactly these columns exists.
    pub(crate) fn is_unique(&self, columns: &[String]) -> bool {
        let has = |key: &[String], name: &String| key.iter().any(|of| self.case.is(of, name));
        self.keys
            .iter()
            .any(|key| key.len() == columns.len() && columns.iter().all(|name| has(key, name)))
    }
}

async fn postgres(
    db: &impl ConnectionTrait,
    schema: Option<&str>,
    table: &str,
) -> Result<Catalog, DbErr> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = match schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(table),
    };
    let ask = |sql: &str| {
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.as_str().into()])
    };
    let mut catalog = Catalog::default();
    for row in db.query_all_raw(ask(POSTGRES_COLUMNS)).await? {
        let limit: Option<i32> = row.try_get_by_index(4)?;
        catalog.is_table = row.try_get_by_index(0)?;
        catalog.columns.push(Found {
            name: row.try_get_by_index(1)?,
            kind: row.try_get_by_index(2)?,
            base: row.try_get_by_index(3)?,
            limit: limit.and_then(|limit| limit.try_into().ok()),
            not_null: row.try_get_by_index(5)?,
            has_default: row.try_get_by_index(6)?,
            case: Case::Matters,
        });
    }
    let mut keys: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in db.query_all_raw(ask(POSTGRES_KEYS)).await? {
        let index = row.try_get_by_index(0)?;
        keys.entry(index)
            .or_default()
            .push(row.try_get_by_index(1)?);
    }
    catalog.keys = keys.into_values().collect();
    Ok(catalog)
}

/// A domain has its base type's name and limit.
const POSTGRES_COLUMNS: &str = "\
    SELECT c.relkind IN ('r', 'p'), a.attname::text, format_type(a.atttypid, a.atttypmod), base.typname::text, \
    CASE WHEN base.typname IN ('varchar', 'bpchar') THEN \
    nullif(greatest(CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END, 3), 3) - 4 END, \
    a.attnotnull, a.atthasdef OR a.attidentity <> '' \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    JOIN pg_catalog.pg_type base ON base.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
    WHERE c.oid = to_regclass($1) ORDER BY a.attnum";

/// The unique indexes that ON CONFLICT accepts: not partial, not on expressions, not deferred, not
/// invalid.
const POSTGRES_KEYS: &str = "\
    SELECT i.indexrelid::bigint, a.attname::text FROM pg_catalog.pg_index i \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
    WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate \
    AND i.indpred IS NULL AND i.indexprs IS NULL";

async fn sqlite(db: &impl ConnectionTrait, table: &str) -> Result<Catalog, DbErr> {
    let ask = |sql: &str| Statement::from_sql_and_values(DbBackend::Sqlite, sql, [table.into()]);
    let mut catalog = Catalog {
        is_table: db.query_one_raw(ask(SQLITE_TABLE)).await?.is_some(),
        case: Case::Ignored,
        ..Catalog::default()
    };
    let mut primary = Vec::new();
    for row in db.query_all_raw(ask(SQLITE_COLUMNS)).await? {
        let (name, kind): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let in_key: bool = row.try_get_by_index(4)?;
        if in_key {
            primary.push(name.clone());
        }
        catalog.columns.push(Found {
            name,
            base: kind.clone(),
            kind,
            limit: None,
            not_null: row.try_get_by_index(2)?,
            has_default: row.try_get_by_index(3)?,
            case: Case::Ignored,
        });
    }
    let mut keys: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for row in db.query_all_raw(ask(SQLITE_KEYS)).await? {
        let index = row.try_get_by_index(0)?;
        keys.entry(index)
            .or_default()
            .push(row.try_get_by_index(1)?);
    }
    // An expression has no name.
    let keys = keys.into_values();
    catalog.keys = keys.filter_map(|key| key.into_iter().collect()).collect();
    catalog.keys.push(primary);
    Ok(catalog)
}

const SQLITE_TABLE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower($1)";

/// A generated column needs no value.
const SQLITE_COLUMNS: &str = "\
    SELECT name, type, \"notnull\" <> 0, dflt_value IS NOT NULL OR hidden <> 0, pk <> 0 \
    FROM pragma_table_xinfo($1)";

const SQLITE_KEYS: &str = "\
    SELECT list.name, info.name FROM pragma_index_list($1) AS list, pragma_index_info(list.name) AS info \
    WHERE list.\"unique\" <> 0 AND list.partial = 0";
