//! What people send, from many at once, through chat's `send`: beside a plain publish of the same by the client itself.

use std::time::Duration;

use async_nats::{Client, HeaderMap, jetstream};
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::subjects::LOG;
use serde_json::{Value, json};

use crate::Outcome;
use crate::backlog::durable;
use crate::callers::{callers, emptied, publish};
use crate::rounds::{Contestant, Rounds, number};

const IN_FLIGHT: [usize; 4] = [1, 16, 128, 256];

/// Who sends, as the server stamps it where a request comes from another account.
const CALLER: &str = r#"{"acc":"PEOPLE","user":"bench~Bench"}"#;

const TEXT: &str = "what somebody says in a room, about so long as people write there";

pub(crate) async fn measure() -> Outcome {
    let time = Duration::from_millis(number("BENCH_MILLIS", 1000) as u64);
    let data = tempfile::tempdir()?;
    let server = durable(data.path()).await?;
    let nats = async_nats::connect(server.url()).await?;
    let jetstream = &jetstream::new(nats.clone());
    let mut config = Config::default();
    (config.send.rate, config.send.burst) = (1e6, 1_000_000);
    let service = chat_service(App::new(config)).build()?;
    let database = format!("sqlite://{}/chat.db?mode=rwc", data.path().display());
    natsfn::setup::setup(&service, &nats.clone().into(), Some(&database)).await?;
    let service = service.only(&["send".into()])?;
    let of_service = async_nats::connect(server.url()).await?;
    let _running = natsfn::start(service, of_service, None).await?;
    let mut rounds = Rounds::new("send");
    for in_flight in IN_FLIGHT {
        let plain = || {
            let own = jetstream.clone();
            let publish = move |id: String| {
                let message = json!({
                    "id": id, "user": "Bench", "uid": "bench", "room": "general", "text": TEXT,
                    "timestamp": 1_700_000_000_000_i64,
                });
                let payload = message.to_string().into();
                publish(own.clone(), "chat.general", id, payload)
            };
            emptied(jetstream, LOG, callers(in_flight, time, publish))
        };
        let sends = || {
            let nats = nats.clone();
            let send = move |id| send(nats.clone(), "general", id);
            emptied(jetstream, LOG, callers(in_flight, time, send))
        };
        let contestants = vec![
            Contestant::new("async_nats publish", plain),
            Contestant::new("chat send", sends),
        ];
        let title = format!("{in_flight} in flight");
        rounds.scene(&title, contestants).await?;
    }
    Ok(())
}

/// A person's request to `send`, and its answer.
pub(super) async fn send(nats: Client, room: &str, id: String) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Request-Info", CALLER);
    let draft = json!({ "id": id, "text": TEXT }).to_string();
    let answer = nats.request_with_headers(format!("chat.send.{room}"), headers, draft.into());
    let answer = answer.await?;
    let sent: Value = serde_json::from_slice(&answer.payload)?;
    if sent["id"] != id {
        return Err(format!("answered {sent}").into());
    }
    Ok(())
}
