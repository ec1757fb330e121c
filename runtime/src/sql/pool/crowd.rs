//! Too few connections to the database: those of PostgreSQL, said at the start and where it refuses one,
//! and those of a pool, said where all of them are lent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sea_orm::sqlx::{self, ConnectOptions, Connection};
use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{Address, User};
use crate::config::PoolSizes;
use crate::sql::db::Db;

/// How long the server may take to refuse.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What PostgreSQL says where all connections are taken, its own or those of a role or a database.
const TOO_MANY: &str = "53300";

/// How many connections there are for everybody without special rights, where a server tells.
const FOR_ALL: &str = "SELECT current_setting('max_connections')::bigint \
    - current_setting('superuser_reserved_connections')::bigint \
    - coalesce(current_setting('reserved_connections', true), '0')::bigint";

/// Why the server lets no more connections in, with the cure. The pool knows only that it waited in
/// vain, so one more is tried.
pub(crate) async fn refusal(address: &Address, sizes: PoolSizes) -> Option<String> {
    match tried(address, sizes).await {
        Tried::Refused(why) => Some(why),
        Tried::Connected | Tried::Failed => None,
    }
}

/// Why a pool lends no connection although the database answers: one that is not from the pool is tried.
pub(crate) async fn shortage(
    db: &Db,
    user: User,
    address: &Address,
    sizes: PoolSizes,
) -> Option<String> {
    let most = address.sizes(sizes)[user as usize];
    match tried(address, sizes).await {
        Tried::Refused(why) => Some(why),
        Tried::Connected if db.is_all_lent(most) => Some(user.shortage(most)),
        Tried::Connected | Tried::Failed => None,
    }
}

/// What became of one more connection.
enum Tried {
    Connected,
    /// With the cure.
    Refused(String),
    Failed,
}

async fn tried(address: &Address, sizes: PoolSizes) -> Tried {
    let Address::Postgres(options) = address else {
        // A file takes any number of them.
        return Tried::Connected;
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => {
            let _ = tokio::time::timeout(CONNECT_TIMEOUT, connection.close()).await;
            Tried::Connected
        }
        Ok(Err(sqlx::Error::Database(error))) if error.code().as_deref() == Some(TOO_MANY) => {
            let [requests, streams] = address.sizes(sizes);
            Tried::Refused(format!(
                "PostgreSQL refuses another connection: {}; raise its max_connections, or lower \
                 database.request_connections (here {requests}) and database.stream_connections \
                 (here {streams}) of the processes that share it",
                error.message()
            ))
        }
        _ => Tried::Failed,
    }
}

/// Where this process alone may take more connections than the server has, requests get only their share
/// of them: busy ones never let go, and the functions that streams feed would get none.
pub(crate) async fn share(db: Db, address: Address, sizes: PoolSizes) {
    if !matches!(address, Address::Postgres(_)) {
        return;
    }
    let there = loop {
        match there(&db).await {
            Ok(there) => break there,
            Err(_) if db.get_postgres_connection_pool().is_closed() => return,
            Err(_) => tokio::time::sleep(CONNECT_TIMEOUT).await,
        }
    };
    if let Some(few) = too_few(there, address.sizes(sizes)) {
        tracing::warn!("{}", few.told);
        withhold(&db, few.withheld).await;
    }
}

/// How many connections the server has for everybody.
async fn there(db: &Db) -> Result<i64, DbErr> {
    let ask = Statement::from_string(db.get_database_backend(), FOR_ALL);
    let row = db.query_one_raw(ask).await?;
    let row = row.ok_or_else(|| DbErr::Custom("no row".to_owned()))?;
    row.try_get_by_index(0)
}

struct TooFew {
    /// What is wrong, with the cure.
    told: String,
    /// How many connections requests do not get.
    withheld: i64,
}

fn too_few(there: i64, [requests, streams]: [u32; 2]) -> Option<TooFew> {
    let wanted = i64::from(requests) + i64::from(streams);
    if wanted <= there {
        return None;
    }
    let share = (i64::from(requests) * there / wanted).max(1);
    let told = format!(
        "this process may take {wanted} connections, and PostgreSQL has {there} for everybody, so requests get \
         {share} of them: raise its max_connections, or lower database.request_connections ({requests}) and \
         database.stream_connections ({streams})"
    );
    Some(TooFew {
        told,
        withheld: i64::from(requests) - share,
    })
}

/// Makes the pool smaller: sqlx counts what was leaked as lent for ever.
async fn withhold(db: &Db, count: i64) {
    let pool = db.get_postgres_connection_pool();
    for _ in 0..count {
        let connection = loop {
            match pool.acquire().await {
                Ok(connection) => break connection,
                Err(sqlx::Error::PoolClosed) => return,
                Err(_) => tokio::time::sleep(CONNECT_TIMEOUT).await,
            }
        };
        let leaked = connection.leak();
        db.withheld.fetch_add(1, Ordering::Relaxed);
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, leaked.close()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use sea_orm::sqlx;
    use sea_orm::{AccessMode, ConnectionTrait, TransactionTrait};

    use crate::config::PoolSizes;
    use crate::function::database::Database;
    use crate::sql::scratch::{Network, Scratch, open};

    #[tokio::test]
    async fn refused_connection_is_told_with_cause_and_cure() {
        let scratch = Scratch::postgres_made("").await;
        let owner = scratch.connect().await;
        let role = format!("few_{:016x}", fastrand::u64(..));
        let run = async |sql: String| owner.execute_unprepared(&sql).await.unwrap();
        let made = format!("CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 1");
        run(made).await;
        let (_, place) = scratch.url.rsplit_once('@').unwrap();
        let few = open(&format!("postgres://{role}:few@{place}"));
        let only = few.db.begin().await.unwrap();

        let error = few.check().await.unwrap_err().to_string();

        drop(only);
        few.close().await;
        run(format!("DROP ROLE {role}")).await;
        for part in [
            "refuses another connection: too many connections for role",
            "database.request_connections (here 10)",
            "max_connections",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn pool_that_is_all_lent_is_told_from_a_database_that_does_not_answer() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let mut lent = Vec::new();
            while !database
                .db
                .is_all_lent(if scratch.is_postgres() { 10 } else { 5 })
            {
                assert_eq!(database.shortage().await, None);
                let reading = Some(AccessMode::ReadOnly);
                lent.push(database.db.begin_with_config(None, reading).await.unwrap());
            }
            let told = database.shortage().await.unwrap();
            assert!(told.contains("database.request_connections: "), "{told}");
        }
        let scratch = Scratch::postgres_made("").await;
        let network = Network::before(&scratch).await;
        let database = open(&network.url);
        let mut lent = Vec::new();
        for _ in 0..10 {
            lent.push(database.db.begin().await.unwrap());
        }
        network.stand_still();
        assert_eq!(database.shortage().await, None);
    }

    #[test]
    fn more_connections_than_the_server_has_are_told() {
        let few = super::too_few(97, [7, 100_000]).unwrap();

        let told = few.told;
        assert!(told.starts_with("this process may take 100007 "), "{told}");
        assert!(told.contains("database.request_connections (7)"), "{told}");
        assert_eq!(few.withheld, 6);
        assert_eq!(super::too_few(7, [10, 10]).unwrap().withheld, 7);
        assert!(super::too_few(97, [10, 10]).is_none());
    }

    #[tokio::test]
    async fn requests_leave_connections_to_streams_where_the_server_has_too_few() {
        let scratch = Scratch::postgres_made("").await;
        let database = scratch.open();
        let pool = database.db.get_postgres_connection_pool();
        let sizes = PoolSizes {
            requests: None,
            streams: Some(1_000_000),
        };
        let lent = pool.acquire().await.unwrap();

        let (db, address) = (database.db.clone(), database.address.clone());
        let sharing = tokio::spawn(super::share(db, address, sizes));

        drop(lent);
        sharing.await.unwrap();
        assert_eq!(database.db.withheld.load(Ordering::Relaxed), 9);
        let last = pool.acquire().await.unwrap();
        let error = pool.acquire().await.unwrap_err();
        assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
        drop(last);
        database.close().await;
        assert!(pool.is_closed());
    }

    #[tokio::test]
    async fn pool_that_closes_does_not_wait_for_what_is_withheld_meanwhile() {
        let scratch = Scratch::postgres_made("").await;
        let network = Network::before(&scratch).await;
        let database = Arc::new(open(&network.url));
        let pool = database.db.get_postgres_connection_pool();
        network.stand_still();
        let db = database.db.clone();
        let withholding = tokio::spawn(async move { super::withhold(&db, 3).await });
        let closed = database.clone();
        while pool.size() == 0 {
            tokio::task::yield_now().await;
        }
        let closing = tokio::spawn(async move { closed.close().await });
        while !pool.is_closed() {
            tokio::task::yield_now().await;
        }

        network.flow();

        withholding.await.unwrap();
        assert_eq!(database.db.withheld.load(Ordering::Relaxed), 1);
        let closed = tokio::time::timeout(Duration::from_secs(1), closing).await;
        closed.expect("it waits").unwrap();
    }
}
