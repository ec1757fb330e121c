//! Stored messages, read back: by page, by position, by identity.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use sea_orm::sea_query::{Expr, Func, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, ExprTrait, Order, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Value,
};
use serde::{Deserialize, Serialize};

use super::entity::messages::{COLUMN, Column, Entity, Model};
use crate::message::Message;
use crate::message::room::{Realm, Room};

/// The epoch and sequence of a message. Positions are in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the log.
    pub epoch: i64,
    /// The sequence in it.
    pub seq: i64,
}

/// A message at its position. As JSON it is `{id, user, uid, text, timestamp, room, epoch, seq}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was said, by whom, where.
    #[serde(flatten)]
    pub message: Message,
    /// Where it stands in the log.
    #[serde(flatten)]
    pub at: Position,
}

/// Which messages of a room are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// The newest ones.
    Last,
    /// The nearest below a position.
    Before(Position),
    /// The nearest above a position.
    After(Position),
}

/// At most `limit` rows of a room, oldest first, none of them above `upto`.
pub async fn page(
    db: &impl ConnectionTrait,
    realm: Realm,
    room: &Room,
    cursor: Cursor,
    upto: Position,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let find = in_direction(realm, room, cursor)
        .filter(at().lte(values(upto)))
        .limit(limit);
    let mut rows: Vec<Row> = find.all(db).await?.into_iter().map(Row::from).collect();
    rows.sort_unstable_by_key(|row| row.at);
    Ok(rows)
}

/// The position of the row that follows the `limit` nearest ones of a page, if there is one.
pub async fn furthest(
    db: &impl ConnectionTrait,
    realm: Realm,
    room: &Room,
    cursor: Cursor,
    limit: u64,
) -> Result<Option<Position>, DbErr> {
    let furthest: Option<(i64, i64)> = in_direction(realm, room, cursor)
        .select_only()
        .columns([Column::Epoch, Column::Seq])
        .offset(limit)
        .limit(1)
        .into_tuple()
        .one(db)
        .await?;
    Ok(furthest.map(|(epoch, seq)| Position { epoch, seq }))
}

/// A room's rows, the nearest of a page first.
fn in_direction(realm: Realm, room: &Room, cursor: Cursor) -> Select<Entity> {
    let find = Entity::find()
        .filter(COLUMN.realm.eq(realm))
        .filter(COLUMN.room.eq(room.clone()));
    let (find, order) = match cursor {
        Cursor::Last => (find, Order::Desc),
        Cursor::Before(position) => (find.filter(at().lt(values(position))), Order::Desc),
        Cursor::After(position) => (find.filter(at().gt(values(position))), Order::Asc),
    };
    find.order_by(Column::Epoch, order.clone())
        .order_by(Column::Seq, order)
}

/// The rows at the positions, in any order.
pub async fn rows_at(
    db: &impl ConnectionTrait,
    positions: impl IntoIterator<Item = Position>,
) -> Result<Vec<Row>, DbErr> {
    let pairs = positions.into_iter().map(|at| (at.epoch, at.seq)).collect();
    among(db, [Column::Epoch, Column::Seq], pairs).await
}

/// The rows with the `(uid, id)` of the messages, by `(uid, id)`.
pub async fn rows_of<'a>(
    db: &impl ConnectionTrait,
    messages: impl IntoIterator<Item = &'a Message>,
) -> Result<HashMap<(String, String), Row>, DbErr> {
    let pairs = messages
        .into_iter()
        .map(|message| (message.uid.clone(), message.id.clone()))
        .collect();
    let rows = among(db, [Column::Uid, Column::MsgId], pairs).await?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.message.uid.clone(), row.message.id.clone()), row))
        .collect())
}

/// The lowest sequence of these epochs, from `from` on, with a row written at `since` (ms) or
/// later.
pub async fn first_since(
    db: &impl ConnectionTrait,
    epochs: impl IntoIterator<Item = i64>,
    from: i64,
    since: i64,
) -> Result<Option<i64>, DbErr> {
    let row = Entity::find()
        .filter(COLUMN.epoch.is_in(epochs))
        .filter(COLUMN.seq.gte(from))
        .filter(COLUMN.created_at.gte(since))
        .order_by(Column::Seq, Order::Asc)
        .one(db)
        .await?;
    Ok(row.map(|row| row.seq))
}

/// The row with the highest sequence of an epoch among these sequences.
pub async fn last_among(
    db: &impl ConnectionTrait,
    epoch: i64,
    seqs: RangeInclusive<i64>,
) -> Result<Option<Row>, DbErr> {
    let last = among_seqs(epoch, seqs).order_by(Column::Seq, Order::Desc);
    Ok(last.one(db).await?.map(Row::from))
}

/// How many rows of an epoch are among these sequences.
pub async fn count(
    db: &impl ConnectionTrait,
    epoch: i64,
    seqs: RangeInclusive<i64>,
) -> Result<u64, DbErr> {
    among_seqs(epoch, seqs).count(db).await
}

/// Which of these sequences of an epoch have a row.
pub async fn seqs_among<T: FromIterator<i64>>(
    db: &impl ConnectionTrait,
    epoch: i64,
    seqs: RangeInclusive<i64>,
) -> Result<T, DbErr> {
    let found = among_seqs(epoch, seqs).select_only().column(Column::Seq);
    let found: Vec<i64> = found.into_tuple().all(db).await?;
    Ok(found.into_iter().collect())
}

fn among_seqs(epoch: i64, seqs: RangeInclusive<i64>) -> Select<Entity> {
    Entity::find()
        .filter(COLUMN.epoch.eq(epoch))
        .filter(COLUMN.seq.between(*seqs.start(), *seqs.end()))
}

async fn among<T>(
    db: &impl ConnectionTrait,
    columns: [Column; 2],
    pairs: Vec<(T, T)>,
) -> Result<Vec<Row>, DbErr>
where
    T: Serialize,
    Vec<T>: Into<Value>,
{
    let found = pairs_in(db.get_database_backend(), columns, pairs)?;
    let rows = Entity::find().filter(found).all(db).await?;
    Ok(rows.into_iter().map(Row::from).collect())
}

/// Whether two columns equal one of the pairs. All pairs are one or two parameters, which the
/// database expands to rows and looks up by the index. A list of values would be a table scan on
/// SQLite and many ORs on PostgreSQL.
fn pairs_in<T>(backend: DbBackend, columns: [Column; 2], pairs: Vec<(T, T)>) -> Result<Expr, DbErr>
where
    T: Serialize,
    Vec<T>: Into<Value>,
{
    let mut wanted = Query::select();
    if backend == DbBackend::Postgres {
        let (first, second): (Vec<T>, Vec<T>) = pairs.into_iter().unzip();
        for column in [first, second] {
            wanted.expr(Func::cust("UNNEST").arg(column.into()));
        }
    } else {
        let json = serde_json::to_string(&pairs).map_err(|error| DbErr::Json(error.to_string()))?;
        let [first, second] = ["value->>0", "value->>1"].map(Expr::cust);
        let pairs = Func::cust("json_each").arg(json);
        wanted
            .expr(first)
            .expr(second)
            .from_function(pairs, "pairs");
    }
    Ok(Expr::tuple(columns.map(Expr::col)).in_subquery(wanted))
}

fn at() -> Expr {
    Expr::tuple([Expr::col(Column::Epoch), Expr::col(Column::Seq)])
}

fn values(position: Position) -> Expr {
    Expr::tuple([Expr::val(position.epoch), Expr::val(position.seq)])
}

impl From<Model> for Row {
    fn from(row: Model) -> Self {
        Self {
            at: Position {
                epoch: row.epoch,
                seq: row.seq,
            },
            message: Message {
                id: row.msg_id,
                user: row.username,
                uid: row.uid,
                text: row.text,
                timestamp: row.timestamp,
                room: row.room,
                realm: row.realm,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{QueryTrait, Statement};

    use super::*;
    use crate::database::Database;
    use crate::store::insert::insert_once;

    const TOP: Position = Position {
        epoch: i64::MAX,
        seq: 0,
    };

    fn row(epoch: i64, seq: i64, room: &str) -> Row {
        Row {
            at: Position { epoch, seq },
            message: Message {
                id: format!("{epoch}-{seq}"),
                user: "Alice".to_owned(),
                uid: "alice".to_owned(),
                text: "hello".to_owned(),
                // Descending, since only positions determine the order.
                timestamp: 1_000_000 - seq,
                room: room.parse().unwrap(),
                realm: Realm::Chat,
            },
        }
    }

    /// Sequences 1 to 6 of epoch 1 and 1 to 4 of epoch 2: the odd ones in `a`, the even ones in `b`.
    async fn fill(db: &sea_orm::DatabaseConnection) {
        let rows: Vec<Row> = (1..=6)
            .map(|seq| (1, seq))
            .chain((1..=4).map(|seq| (2, seq)))
            .map(|(epoch, seq)| row(epoch, seq, if seq % 2 == 1 { "a" } else { "b" }))
            .collect();
        insert_once(db, &rows).await.unwrap();
    }

    async fn positions(
        db: &impl ConnectionTrait,
        asked: Cursor,
        upto: Position,
        limit: u64,
    ) -> Vec<(i64, i64)> {
        let rows = page(db, Realm::Chat, &"a".parse().unwrap(), asked, upto, limit)
            .await
            .unwrap();
        rows.iter().map(|row| (row.at.epoch, row.at.seq)).collect()
    }

    #[tokio::test]
    async fn page_is_the_nearest_rows_oldest_first() {
        for database in Database::each().await {
            let db = &database.pool;
            fill(db).await;
            let at = |epoch, seq| Position { epoch, seq };
            assert_eq!(
                positions(db, Cursor::Last, TOP, 10).await,
                [(1, 1), (1, 3), (1, 5), (2, 1), (2, 3)]
            );
            assert_eq!(
                positions(db, Cursor::Last, TOP, 3).await,
                [(1, 5), (2, 1), (2, 3)]
            );
            assert_eq!(
                positions(db, Cursor::Before(at(2, 1)), TOP, 2).await,
                [(1, 3), (1, 5)]
            );
            assert_eq!(
                positions(db, Cursor::Before(at(2, 2)), TOP, 2).await,
                [(1, 5), (2, 1)]
            );
            assert_eq!(positions(db, Cursor::Before(at(1, 1)), TOP, 2).await, []);
            assert_eq!(
                positions(db, Cursor::After(at(1, 3)), TOP, 2).await,
                [(1, 5), (2, 1)]
            );
            assert_eq!(
                positions(db, Cursor::After(at(0, 0)), TOP, 2).await,
                [(1, 1), (1, 3)]
            );
            assert_eq!(positions(db, Cursor::After(at(2, 3)), TOP, 2).await, []);
        }
    }

    #[tokio::test]
    async fn page_ends_at_the_bound() {
        for database in Database::each().await {
            let db = &database.pool;
            fill(db).await;
            let bound = Position { epoch: 2, seq: 1 };
            assert_eq!(
                positions(db, Cursor::Last, bound, 2).await,
                [(1, 5), (2, 1)]
            );
            assert_eq!(
                positions(db, Cursor::After(Position { epoch: 1, seq: 4 }), bound, 9).await,
                [(1, 5), (2, 1)]
            );
            let bound = Position { epoch: 2, seq: 0 };
            assert_eq!(
                positions(db, Cursor::Before(TOP), bound, 2).await,
                [(1, 3), (1, 5)]
            );
        }
    }

    #[tokio::test]
    async fn furthest_is_the_row_that_follows_the_page() {
        for database in Database::each().await {
            let db = &database.pool;
            fill(db).await;
            let room = "a".parse().unwrap();
            let at = |epoch, seq| Position { epoch, seq };
            for (cursor, limit, expected) in [
                (Cursor::Last, 1, Some(at(2, 1))),
                (Cursor::Last, 4, Some(at(1, 1))),
                (Cursor::Last, 5, None),
                (Cursor::Before(at(2, 1)), 1, Some(at(1, 3))),
                (Cursor::After(at(1, 3)), 1, Some(at(2, 1))),
                (Cursor::After(at(2, 3)), 1, None),
            ] {
                let found = furthest(db, Realm::Chat, &room, cursor, limit)
                    .await
                    .unwrap();
                assert_eq!(found, expected, "{cursor:?} {limit}");
            }
        }
    }

    #[tokio::test]
    async fn page_holds_one_room_of_one_realm() {
        for database in Database::each().await {
            let db = &database.pool;
            let mut admin = row(1, 2, "a");
            admin.message.realm = Realm::Admin;
            insert_once(db, &[row(1, 1, "a"), admin.clone(), row(1, 3, "A")])
                .await
                .unwrap();
            assert_eq!(positions(db, Cursor::Last, TOP, 9).await, [(1, 1)]);
            let rows = page(db, Realm::Admin, &admin.message.room, Cursor::Last, TOP, 9)
                .await
                .unwrap();
            assert_eq!(rows, [admin]);
        }
    }

    #[tokio::test]
    async fn rows_are_found_by_position_and_by_identity() {
        for database in Database::each().await {
            let db = &database.pool;
            fill(db).await;
            let (there, gone) = (row(2, 3, "a"), row(3, 3, "a"));
            assert_eq!(
                rows_at(db, [there.at, gone.at]).await.unwrap(),
                std::slice::from_ref(&there)
            );
            let mut others = there.message.clone();
            others.uid = "bob".to_owned();
            let found = rows_of(db, [&there.message, &gone.message, &others])
                .await
                .unwrap();
            let key = (there.message.uid.clone(), there.message.id.clone());
            assert_eq!(found, HashMap::from([(key, there)]));
        }
    }

    #[tokio::test]
    async fn rows_of_a_long_tail_are_found() {
        for database in Database::each().await {
            let rows: Vec<Row> = (1..=12_000).map(|seq| row(1, seq, "a")).collect();
            insert_once(&database.pool, &rows[..11_000]).await.unwrap();
            let found = rows_of(&database.pool, rows.iter().map(|row| &row.message))
                .await
                .unwrap();
            assert_eq!(found.len(), 11_000);
            assert_eq!(
                found[&("alice".to_owned(), "1-10999".to_owned())],
                rows[10_998]
            );
        }
    }

    /// SQLite shows its query plan even for small tables, which PostgreSQL would scan.
    #[tokio::test]
    async fn lookups_use_the_indexes() {
        let [sqlite, _] = Database::each().await;
        for (columns, index) in [
            (
                [Column::Uid, Column::MsgId],
                "messages_uid_msg_id (uid=? AND msg_id=?)",
            ),
            (
                [Column::Epoch, Column::Seq],
                "sqlite_autoindex_messages_1 (epoch=? AND seq=?)",
            ),
        ] {
            let find = Entity::find()
                .filter(pairs_in(DbBackend::Sqlite, columns, vec![(1_i64, 1_i64)]).unwrap());
            let statement = find.build(DbBackend::Sqlite);
            let explain = format!("EXPLAIN QUERY PLAN {}", statement.sql);
            let explain = Statement {
                sql: explain,
                ..statement
            };
            let plan = sqlite.pool.query_one_raw(explain).await.unwrap().unwrap();
            let detail: String = plan.try_get("", "detail").unwrap();
            assert_eq!(detail, format!("SEARCH messages USING INDEX {index}"));
        }
    }

    #[test]
    fn row_is_the_message_with_its_position() {
        assert_eq!(
            serde_json::to_string(&row(2, 7, "a")).unwrap(),
            concat!(
                r#"{"id":"2-7","user":"Alice","uid":"alice","text":"hello","timestamp":999993,"#,
                r#""room":"a","epoch":2,"seq":7}"#
            )
        );
    }
}
