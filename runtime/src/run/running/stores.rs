//! The buckets and object stores that functions use: whether they are there, and what a function can use.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::error::Kind;
use crate::nats::jetstream::{Nats, stream_info};
use crate::service::definition::Definition;
use crate::service::stream::Stream;

/// How long the server may take for an answer; later it counts as one that does not say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What this function or background work uses, each once.
pub(in crate::run) fn of(definition: &Definition, function: &str) -> Vec<Stream> {
    let mut stores: Vec<Stream> = Vec::new();
    let uses = definition.uses().filter(|(name, _)| *name == function);
    for store in uses.filter_map(|(_, access)| access.store) {
        let mut declared = definition.streams.iter();
        let stream = declared.find(|stream| stream.store() == Some(&store));
        if let Some(stream) = stream.filter(|it| !stores.iter().any(|s| s.name() == it.name())) {
            stores.push(stream.clone());
        }
    }
    stores
}

/// What is wrong with them, as far as the server says: by the stream's name.
pub(super) async fn obstacles<'a>(
    nats: &Nats,
    service: &str,
    stores: impl Iterator<Item = &'a Stream>,
) -> BTreeMap<&'a str, String> {
    let each: BTreeMap<&str, &Stream> = stores.map(|store| (store.name(), store)).collect();
    let asked = each.into_iter().map(async |(name, store)| {
        let why = match timeout(ANSWER_TIMEOUT, stream_info(nats, name)).await {
            Ok(Ok(info)) => store.refusals(&info.config).join("; "),
            Ok(Err(error)) if error.kind() == Kind::NotFound && store.is_existing() => {
                store.missing()
            }
            Ok(Err(error)) if error.kind() == Kind::NotFound => {
                format!("there is no {}: run `{service} setup`", store.title())
            }
            _ => String::new(),
        };
        (!why.is_empty()).then_some((name, why))
    });
    join_all(asked).await.into_iter().flatten().collect()
}
