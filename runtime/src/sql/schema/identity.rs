//! Which database this is: an id that the first `setup` writes into it. It goes with a backup, so a
//! database that is put back is the same one, and an empty one in its place is not.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::error::Result;
use crate::sql::db::Db;
use crate::sql::timeout::{bounded, down};

pub(super) fn create_identity(_: DbBackend) -> Vec<String> {
    // Letters and digits only.
    let id = nuid::next();
    vec![
        "CREATE TABLE natsfn_database (id text NOT NULL PRIMARY KEY)".to_owned(),
        format!("INSERT INTO natsfn_database (id) VALUES ('{id}')"),
    ]
}

impl Db {
    /// The id that `setup` has written into the database, and into the durable consumers that feed
    /// it ([`ConsumerInfo::database`](crate::nats::jetstream::ConsumerInfo::database)).
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::Kind::Unavailable) where the database does not answer.
    pub async fn identity(&self) -> Result<Option<String>> {
        let query = Statement::from_string(
            self.get_database_backend(),
            "SELECT id FROM natsfn_database",
        );
        let row = bounded(self.query_one_raw(query)).await.map_err(down)?;
        row.map(|row| row.try_get_by_index(0))
            .transpose()
            .map_err(down)
    }

    /// Writes an id, where none is there.
    pub(crate) async fn identify(&self, id: &str) -> Result<()> {
        let insert = "INSERT INTO natsfn_database (id) SELECT CAST($1 AS text) \
                      WHERE NOT EXISTS (SELECT 1 FROM natsfn_database)";
        let backend = self.get_database_backend();
        let insert = Statement::from_sql_and_values(backend, insert, [id.into()]);
        bounded(self.execute_raw(insert)).await.map_err(down)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::function::database::Database;
    use crate::sql::schema::migrate::migrate;
    use crate::sql::scratch::{Effects, Scratch};

    #[tokio::test]
    async fn database_keeps_its_id_and_no_other_has_it() {
        let mut ids = Vec::new();
        for scratch in Scratch::each().await {
            let id = scratch.open().identity().await.unwrap().unwrap();
            migrate::<Effects>(&scratch.url, &[]).await.unwrap();
            assert_eq!(scratch.open().identity().await.unwrap().unwrap(), id);
            ids.push(id);
        }
        assert_ne!(ids[0], ids[1]);
    }
}
