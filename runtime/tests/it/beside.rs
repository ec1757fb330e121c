//! Two services in one program (the example `pair`): two logins, two accounts, one word to stop.

use std::path::Path;
use std::process::Stdio;

use natsfn::{Service, testing};
use serde_json::Value;
use tokio::process::Command;

use crate::process::{Lasting, output, program, text};
use crate::world::World;

fn pair(directory: &Path, arguments: &[&str]) -> Command {
    program("pair", directory, arguments)
}

/// What a user of the account sees: the services, and the answers to a price and to a token.
async fn seen(directory: &Path, user: &str) -> (Vec<String>, [Option<String>; 2]) {
    let read = |file: &str| std::fs::read(directory.join(".natsfn").join(file)).unwrap();
    let addresses: Value = serde_json::from_slice(&read("dev.json")).unwrap();
    let secrets: Value = serde_json::from_slice(&read("secrets.json")).unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password(
        user.to_owned(),
        secrets[user].as_str().unwrap().to_owned(),
    );
    let nats = options.connect(addresses["nats"].as_str().unwrap());
    let nats = nats.await.unwrap();
    let ask = async |subject: &'static str| {
        let answer = nats.request(subject, "\"sesame\"".into()).await;
        answer
            .ok()
            .map(|answer| String::from_utf8_lossy(&answer.payload).into_owned())
    };
    let answers = [ask("price").await, ask("check").await];
    let ping = nats.request("$SRV.PING", "".into()).await.ok();
    let name = |message: async_nats::Message| {
        let told: Value = serde_json::from_slice(&message.payload).unwrap();
        told["name"].as_str().unwrap().to_owned()
    };
    (ping.map(name).into_iter().collect(), answers)
}

#[tokio::test]
async fn each_service_is_served_in_its_own_account() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut dev = Lasting::spawn(pair(directory, &["dev", "--port", "0"]));

    let announced = dev.says("is ready").await;

    assert!(announced.ends_with("serves price, check"), "{announced}");
    let shop = (vec!["shop".to_owned()], [Some("600".to_owned()), None]);
    assert_eq!(seen(directory, "shop").await, shop);
    let door = (vec!["door".to_owned()], [None, Some("true".to_owned())]);
    assert_eq!(seen(directory, "door").await, door);
    for (function, answer) in [("price", "600"), ("check", "true")] {
        let invoked = output(pair(directory, &["invoke", function, "\"sesame\""])).await;
        assert_eq!(text(&invoked).0.trim(), answer, "{:?}", text(&invoked));
    }
    let set_up = output(pair(directory, &["setup"])).await;
    assert!(set_up.status.success(), "{:?}", text(&set_up));
    dev.signal("-TERM").await;
    assert_eq!(dev.exit_code().await, Some(0));
}

#[tokio::test]
async fn service_is_started_where_something_of_it_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let arguments = ["dev", "--port", "0", "--without", "check"];
    let mut dev = Lasting::spawn(pair(directory, &arguments));
    let announced = dev.says("is ready").await;
    assert!(announced.ends_with("serves price"), "{announced}");
    assert_eq!(seen(directory, "door").await, (vec![], [None, None]));

    let mut door = Lasting::spawn(pair(directory, &["serve", "check"]));

    let announced = door.says("serves").await;
    assert!(announced.contains("serves check on"), "{announced}");
    let (services, [_, answer]) = seen(directory, "door").await;
    assert_eq!(
        (services, answer),
        (vec!["door".into()], Some("true".into()))
    );
    door.signal("-TERM").await;
    assert_eq!(door.exit_code().await, Some(0));
    assert_eq!(seen(directory, "door").await, (vec![], [None, None]));

    let mut both = Lasting::spawn(pair(directory, &["serve"]));
    both.says("serves price, check on").await;
    both.signal("-TERM").await;
    assert_eq!(both.exit_code().await, Some(0));
    dev.signal("-TERM").await;
    assert_eq!(dev.exit_code().await, Some(0));
}

#[tokio::test]
async fn unknown_function_is_refused_with_those_of_both_services() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["serve", "x"][..], &["dev", "--without", "x"]] {
        let refused = output(pair(directory.path(), arguments)).await;
        let (_, said) = text(&refused);
        assert!(
            said.contains("shop has no function \"x\"; it has: price, check"),
            "{said}"
        );
        assert_eq!(refused.status.code(), Some(2));
    }
}

const SHOP_ALONE: &str = "
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
authorization { users: [{ user: shop, password: shop }] }
";

#[tokio::test]
async fn login_that_is_refused_is_named_by_its_section() {
    let directory = tempfile::tempdir().unwrap();
    let server = testing::nats_with(|config| config.text(SHOP_ALONE)).await;
    let mut serve = pair(directory.path(), &["serve"]);
    serve
        .env("SHOP_NATS__URL", server.url())
        .env("SHOP_NATS__USER", "shop")
        .env("SHOP_NATS__PASSWORD", "shop")
        .env("SHOP_CREDENTIALS__DOOR__USER", "door")
        .env("SHOP_CREDENTIALS__DOOR__PASSWORD", "wrong");
    let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut serve = Lasting::of(child.stderr.take().unwrap(), child);

    serve.says("are credentials.door.user and").await;

    serve.signal("-TERM").await;
    assert_eq!(serve.exit_code().await, Some(0));
}

#[test]
fn services_of_one_program_share_no_name_and_no_function() {
    let other = Service::new("a", "1.0.0").endpoint("x", async || {});
    let service = Service::new("a", "1.0.0")
        .endpoint("x", async || {})
        .beside(other);

    let refused = service.build().err().unwrap();

    let [names, functions] = refused.lines() else {
        panic!("{refused}");
    };
    assert!(
        names.starts_with("two services of the program are named \"a\""),
        "{names}"
    );
    assert!(
        functions.contains("both have a function \"x\""),
        "{functions}"
    );
    assert_eq!(refused.exit_code(), 2);
}

#[tokio::test]
async fn start_refuses_to_leave_the_service_beside_out() {
    let world = World::new().await;
    let service = Service::new("a", "1.0.0").beside(Service::new("b", "1.0.0"));

    let started = natsfn::start(service.build().unwrap(), world.connect().await, None).await;

    let refused = started.err().unwrap().to_string();
    assert!(refused.starts_with("b is beside a"), "{refused}");
}

#[tokio::test]
async fn command_of_the_program_s_own_connects_and_fails_as_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut dev = Lasting::spawn(pair(directory, &["dev", "--port", "0"]));
    dev.says("is ready").await;
    let run = async |arguments: &[&str]| {
        let ran = output(pair(directory, arguments)).await;
        let (said, complaint) = text(&ran);
        (ran.status.code(), said, complaint)
    };

    let opens = (Some(0), "the door opens\n".to_owned(), String::new());
    assert_eq!(run(&["knock", "sesame"]).await, opens);
    let file = directory.join(".natsfn/shop.toml");
    let file = file.to_str().unwrap();
    assert_eq!(run(&["knock", "--config", file, "sesame"]).await, opens);
    let stays = "shop: the door stays closed\n".to_owned();
    assert_eq!(
        run(&["knock", "please"]).await,
        (Some(1), String::new(), stays)
    );
    let (code, _, complaint) = run(&["knock"]).await;
    assert!(complaint.contains("<TOKEN>"), "{complaint}");
    assert_eq!(code, Some(2));
    let (_, help, _) = run(&["--help"]).await;
    assert!(help.contains("Knock at the door"), "{help}");
    dev.signal("-TERM").await;
    dev.exit_code().await;
    let gone = run(&["knock", "sesame"]).await;
    assert!(gone.2.contains("cannot be reached"), "{gone:?}");
    assert_eq!(gone.0, Some(1));
}

#[tokio::test]
async fn command_that_asks_for_no_configuration_works_where_it_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shop.toml"), "greeting = 1").unwrap();

    let hint = output(pair(directory.path(), &["hint"])).await;
    let knock = output(pair(directory.path(), &["knock", "sesame"])).await;

    assert_eq!(text(&hint), ("open ...\n".to_owned(), String::new()));
    assert_eq!(hint.status.code(), Some(0));
    let (_, complaint) = text(&knock);
    assert!(
        complaint.starts_with("shop: greeting: is no configuration key"),
        "{complaint}"
    );
    assert_eq!(knock.status.code(), Some(2));
}
