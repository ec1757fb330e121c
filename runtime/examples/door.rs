//! Who may connect to NATS: whoever has a token of the list. Everything comes from the environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use natsfn::auth_callout::{Allow, AuthKeys, AuthRequest, Permissions};
use natsfn::config::Secret;
use natsfn::{Endpoint, Error, Kind, Result, Service, State};

#[derive(serde::Deserialize)]
struct Config {
    issuer: Secret,                   // DOOR_ISSUER=SA...
    xkey: Secret,                     // DOOR_XKEY=SX...
    tokens: BTreeMap<String, Secret>, // DOOR_TOKENS__ALI=...: the token of ali
}

type Tokens = Arc<BTreeMap<String, Secret>>;

async fn decide(State(tokens): State<Tokens>, request: AuthRequest) -> Result<Allow> {
    let is_known = |(_, token): &(&String, &Secret)| **token == request.connect.token;
    let Some((name, _)) = tokens.iter().find(is_known) else {
        return Err(Error::new(Kind::Unauthorized, "unknown token"));
    };
    let permissions = Permissions::none()
        .publish(["orders.>"])
        .subscribe([format!("_INBOX.{name}.>")]);
    Ok(Allow::new("CUSTOMERS", name).permissions(permissions))
}

async fn door(config: Config) -> Result<Service<Tokens>> {
    let keys = AuthKeys::from_seeds(&config.issuer, &config.xkey)?;
    let service = Service::new("door", "1.0.0").state(Tokens::new(config.tokens));
    Ok(service.endpoint(Endpoint::auth_callout("decide", keys), decide))
}

fn main() -> natsfn::Exit {
    natsfn::main(door)
}
