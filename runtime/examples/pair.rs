//! Two services in one program: each is a user of its own, here even in an account of its own.

use natsfn::cli::{App, CommandContext, DevDirectory, Plan, clap};
use natsfn::config::Login;
use natsfn::{Json, RunError, Service};

async fn price(Json(sku): Json<String>) -> Json<usize> {
    Json(100 * sku.len())
}

async fn check(Json(token): Json<String>) -> Json<bool> {
    Json(token == "sesame")
}

/// The door knows the tokens: whoever takes over the shop's login still reaches nothing of it.
fn shop() -> Service {
    let door = Service::new("door", "1.0.0").endpoint("check", check);
    Service::new("shop", "1.0.0")
        .endpoint("price", price)
        .beside(door)
}

/// Knock at the door
#[derive(clap::Args)]
struct Knock {
    /// What to say
    token: String,
}

/// Asks as the door itself, since the shop may not.
async fn knock<C>(knock: Knock, context: CommandContext<C>) -> Result<(), RunError> {
    let door = natsfn::Client::new(context.connect("door").await?);
    let is_open = door.request("check", &knock.token).await;
    if !is_open.map_err(|error| RunError::new(error.to_string()))? {
        return Err(RunError::new("the door stays closed"));
    }
    context.say("the door opens");
    Ok(())
}

/// Print a hint
#[derive(clap::Args)]
struct Hint {}

/// Works on a machine where nothing is configured.
async fn hint<C>(_: Hint, context: CommandContext<C>) -> Result<(), RunError> {
    context.say("open ...");
    Ok(())
}

const CONF: &str = "
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream { store_dir: $NATS_CONF_STORE_DIR }
accounts {
  SHOP { jetstream: enabled, users: [{ user: shop, password: $NATS_CONF_PASSWORD_SHOP }] }
  DOOR { users: [{ user: door, password: $NATS_CONF_PASSWORD_DOOR }] }
}
";

/// `dev` logs the shop in as `nats` says, and the door with the credentials of its name.
fn plan(dev: &DevDirectory) -> Result<Plan, RunError> {
    let login = |name| Ok::<_, RunError>(Login::new(name, dev.secret(name)?, "_INBOX"));
    let server = dev
        .server()
        .text(CONF)
        .variable("NATS_CONF_PASSWORD_SHOP", dev.secret("shop")?.expose())
        .variable("NATS_CONF_PASSWORD_DOOR", dev.secret("door")?.expose());
    Ok(Plan::new(server)
        .login(login("shop")?)
        .credentials("door", login("door")?))
}

fn main() -> natsfn::Exit {
    App::new(shop)
        .dev(plan)
        .command("knock", knock)
        .command("hint", hint)
        .run()
}
