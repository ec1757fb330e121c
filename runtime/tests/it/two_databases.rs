//! One log, two databases: the second one is refused, until an operator says that it is meant. One
//! database, two states of it: what the older one lacks is handled again where an operator says so.

use std::time::Duration;

use natsfn::{Running, setup};
use serde_json::Value;

use crate::database::Database;
use crate::sql::{ROWS, service};
use crate::world::{World, function, until};

async fn set_up(world: &World, database: &Database) {
    let service = service().build().unwrap();
    setup::setup(&service, &world.nats, Some(&database.url))
        .await
        .unwrap();
}

async fn serve(world: &World, database: &Database) -> Running {
    let service = service().build().unwrap();
    natsfn::start(service, world.connect().await, Some(&database.url))
        .await
        .unwrap()
}

/// A database that is set up, for another server.
async fn of_another_server(database: &Database) {
    set_up(&World::new().await, database).await;
}

async fn publish(world: &World, n: usize) {
    let payloads = (0..n).map(|n| n.to_string());
    world.store("numbers.a", payloads).await;
}

async fn holds(running: &Running) -> String {
    until("it holds", async || {
        let data = function(running, 0)["data"].clone();
        let reason = data["reason"].as_str()?.to_owned();
        (data["state"] == "holding" && reason.contains("another database")).then_some(reason)
    })
    .await
}

async fn has_rows(database: &Database, n: i64) {
    until("the rows are there", async || {
        (database.number(ROWS).await >= n).then_some(())
    })
    .await;
    assert_eq!(database.number(ROWS).await, n);
}

#[tokio::test]
async fn function_with_another_database_takes_nothing_from_the_right_one() {
    for (right, wrong) in Database::each()
        .await
        .into_iter()
        .zip(Database::each().await)
    {
        let world = World::new().await;
        set_up(&world, &right).await;
        of_another_server(&wrong).await;
        let _right = serve(&world, &right).await;
        let stray = serve(&world, &wrong).await;

        let reason = holds(&stray).await;
        publish(&world, 200).await;

        assert!(
            reason.contains("database.url") && reason.contains("`setup`"),
            "{reason}"
        );
        world.settled("NUMBERS", "store", 200).await;
        assert_eq!(right.number(ROWS).await, 200);
        assert_eq!(wrong.number(ROWS).await, 0);
    }
}

#[tokio::test]
async fn setup_with_another_database_fills_it_and_the_former_one_gets_nothing_any_more() {
    for (former, next) in Database::each()
        .await
        .into_iter()
        .zip(Database::each().await)
    {
        let world = World::new().await;
        set_up(&world, &former).await;
        let old = serve(&world, &former).await;
        publish(&world, 100).await;
        has_rows(&former, 100).await;

        set_up(&world, &next).await;
        let _new = serve(&world, &next).await;

        holds(&old).await;
        has_rows(&next, 100).await;
        publish(&world, 10).await;
        has_rows(&next, 110).await;
        assert_eq!(former.number(ROWS).await, 100);
        let id = world.consumer("NUMBERS", "store").await["config"]["metadata"]["natsfn.database"]
            .clone();

        // Once more with the same one, nothing begins again.
        let before = world.consumer("NUMBERS", "store").await["created"].clone();
        set_up(&world, &next).await;
        let after = world.consumer("NUMBERS", "store").await;
        assert_eq!(after["created"], before);
        assert_eq!(after["config"]["metadata"]["natsfn.database"], id);
        old.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn inbox_that_is_put_back_gets_what_it_lacks_once_the_consumer_is_deleted() {
    for database in Database::each().await {
        let world = World::new().await;
        set_up(&world, &database).await;
        let _running = serve(&world, &database).await;
        // In two batches at least: the second one notes that the first is settled.
        for (numbers, settled) in [(0..30, 30), (30..50, 50)] {
            let numbers = numbers.map(|n: u64| n.to_string());
            world.store("numbers.a", numbers).await;
            world.settled("NUMBERS", "store", settled).await;
        }
        // What a backup after the first 20 messages would hold.
        database
            .execute("DELETE FROM numbers WHERE number >= 20")
            .await;
        database
            .execute("DELETE FROM natsfn_inbox WHERE seq > 20")
            .await;

        let delete = "CONSUMER.DELETE.NUMBERS.numbers-store";
        world.api(delete, &Value::Null).await;

        has_rows(&database, 50).await;
        world.settled("NUMBERS", "store", 50).await;
        let different = "SELECT count(DISTINCT number) FROM numbers";
        assert_eq!(database.number(different).await, 50);
        assert_eq!(database.number(ROWS).await, 50, "nothing is done twice");
    }
}

#[tokio::test]
async fn database_that_has_lost_its_id_gets_back_the_one_that_its_consumer_carries() {
    for database in Database::each().await {
        let world = World::new().await;
        set_up(&world, &database).await;
        let running = serve(&world, &database).await;
        publish(&world, 10).await;
        world.settled("NUMBERS", "store", 10).await;
        running.stop(Duration::from_secs(5)).await;
        let before = world.consumer("NUMBERS", "store").await;
        let id = before["config"]["metadata"]["natsfn.database"].clone();
        let id = id.as_str().unwrap();
        database.execute("DELETE FROM natsfn_database").await;
        let running = serve(&world, &database).await;
        until("it holds", async || {
            let data = function(&running, 0)["data"].clone();
            let reason = data["reason"].as_str()?.to_owned();
            (data["state"] == "holding" && reason.contains("lost its id")).then_some(())
        })
        .await;

        let service = || service().build().unwrap();
        let only_plan = setup::Options::default().only_plan();
        let mut told = Vec::new();
        for options in [only_plan, setup::Options::default()] {
            let lines =
                setup::setup_with(&service(), &world.nats, Some(&database.url), &options).await;
            told.push(lines.unwrap());
        }

        let line = |line: &&String| line.starts_with("database: has lost its id");
        for lines in &told {
            assert!(lines.iter().find(line).unwrap().contains(id), "{lines:?}");
        }
        let stays = "consumer numbers-store of NUMBERS: stays as it is".to_owned();
        assert!(told[0].contains(&stays), "{told:?}");
        let ids = format!("SELECT count(*) FROM natsfn_database WHERE id = '{id}'");
        assert_eq!(database.number(&ids).await, 1);
        let after = world.consumer("NUMBERS", "store").await;
        assert_eq!(after["created"], before["created"]);
        assert_eq!(after["config"], before["config"]);
        // Once more, nothing is to be done.
        let again = setup::setup(&service(), &world.nats, Some(&database.url)).await;
        again.unwrap();
        publish(&world, 10).await;
        has_rows(&database, 20).await;
        running.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn consumer_of_an_earlier_version_takes_the_id_at_setup_and_goes_on() {
    let world = World::new().await;
    let [database, _] = Database::each().await;
    set_up(&world, &database).await;
    let mut config = world.consumer("NUMBERS", "store").await["config"].clone();
    let id = config["metadata"]["natsfn.database"].clone();
    config["metadata"] = serde_json::json!({ "natsfn.function": "store" });
    let body = serde_json::json!({ "stream_name": "NUMBERS", "config": config });
    let name = "CONSUMER.CREATE.NUMBERS.numbers-store";
    let changed: Value = world.api(name, &body).await;
    assert!(
        changed["config"]["metadata"]["natsfn.database"].is_null(),
        "{changed}"
    );
    let running = serve(&world, &database).await;
    publish(&world, 10).await;
    has_rows(&database, 10).await;

    set_up(&world, &database).await;

    let metadata = world.consumer("NUMBERS", "store").await["config"]["metadata"].clone();
    assert_eq!(metadata["natsfn.database"], id);
    publish(&world, 10).await;
    has_rows(&database, 20).await;
    running.stop(Duration::from_secs(5)).await;
}
