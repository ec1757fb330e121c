//! Readings of sensors: each is stored exactly once, and the latest is answered.

mod reading;

use natsfn::{Consumer, Db, Endpoint, Error, Json, Kind, Path, Result, Service, Stream, Tx};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

/// The latest reading of a sensor: `nats req {{project-name}}.latest.kitchen ''`.
async fn latest(db: Db, Path(sensor): Path<String>) -> Result<Json<f64>> {
    let latest = reading::Entity::find()
        .filter(reading::Column::Sensor.eq(&sensor))
        .order_by_desc(reading::Column::Id)
        .one(&db)
        .await?;
    let unknown = || Error::new(Kind::NotFound, format!("there is no reading of {sensor}"));
    Ok(Json(latest.ok_or_else(unknown)?.value))
}

/// Stores a reading once, however often it is delivered: `nats pub readings.kitchen 21.5`.
async fn store(tx: Tx, Path(sensor): Path<String>, Json(value): Json<f64>) -> Result<()> {
    let row = reading::ActiveModel {
        sensor: Set(sensor),
        value: Set(value),
        ..Default::default()
    };
    reading::Entity::insert(row)
        .exec_without_returning(&tx)
        .await?;
    Ok(())
}

fn service() -> Service {
    let latest_of = Endpoint::new("latest", "{{project-name}}.latest.{sensor}");
    let readings = Stream::new("READINGS", ["readings.{sensor}"]);
    Service::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
        .database::<reading::Migrator>()
        .entity::<reading::Entity>()
        .endpoint(latest_of, latest)
        .consumer(Consumer::new("store", readings), store)
}

fn main() -> natsfn::Exit {
    natsfn::main(service)
}

#[cfg(test)]
mod tests {
    use natsfn::testing::{Outcome, local};
    use sea_orm::PaginatorTrait;

    use super::*;

    #[tokio::test]
    async fn readings_are_stored_once_and_the_latest_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db?mode=rwc", directory.path().display());
        let service = local(service()).database(&url).await.unwrap();

        let outcomes = service.deliver("store", [20.0, 21.5]).await;
        assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
        // The same messages once more, as after a crash.
        let outcomes = service.redeliver("store").await;
        assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);

        // `deliver` puts an x where the subject has a {...}.
        let latest: f64 = service.request("{{project-name}}.latest.x", &()).await.unwrap();
        assert_eq!(latest, 21.5);
        let unknown = service
            .request::<f64>("{{project-name}}.latest.cellar", &())
            .await;
        assert_eq!(unknown.unwrap_err().code, 404);
        let db = sea_orm::Database::connect(&url).await.unwrap();
        assert_eq!(reading::Entity::find().count(&db).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn reading_that_is_no_number_is_a_dead_letter() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db?mode=rwc", directory.path().display());
        let service = local(service()).database(&url).await.unwrap();

        let outcomes = service.deliver("store", ["warm"]).await;

        assert_eq!(outcomes, [Outcome::DeadLetter]);
    }
}
