//! The buckets and object stores that functions use: whether `setup` has made them.

use std::time::Duration;

use async_nats::Client;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::error::Kind;
use crate::nats::client::access::store::Store;
use crate::nats::jetstream::stream_info;
use crate::service::definition::Definition;

/// How long the server may take for an answer; later it counts as one that does not say.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What this function or background work uses, each once.
pub(in crate::run) fn of(definition: &Definition, function: &str) -> Vec<Store> {
    let mut stores: Vec<Store> = Vec::new();
    let uses = definition.uses().filter(|(name, _)| *name == function);
    for store in uses.filter_map(|(_, access)| access.store) {
        if !stores.contains(&store) {
            stores.push(store);
        }
    }
    stores
}

/// Those that the server says are not there.
pub(super) async fn missing<'a>(
    nats: &Client,
    stores: impl Iterator<Item = &'a Store>,
) -> Vec<&'a Store> {
    let mut each: Vec<&Store> = Vec::new();
    for store in stores {
        if !each.contains(&store) {
            each.push(store);
        }
    }
    let asked = each.into_iter().map(async |store| {
        let name = store.stream();
        let info = timeout(ANSWER_TIMEOUT, stream_info(nats, &name)).await;
        let is_missing = matches!(info, Ok(Err(error)) if error.kind() == Kind::NotFound);
        is_missing.then_some(store)
    });
    join_all(asked).await.into_iter().flatten().collect()
}
