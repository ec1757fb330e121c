//! The owner of a durable consumer. If two services shared one, each would get a part of the messages,
//! and both would seem to run well. So the consumer's metadata names its owner.

use std::collections::HashMap;

use super::Consumer;
use super::database::DATABASE;
use crate::error::{Error, Kind, Result};
use crate::nats::jetstream::{ConsumerInfo, Nats, consumer_info};
use crate::service::stream::OWNER;

/// The key of the function's name.
const FUNCTION: &str = "natsfn.function";

impl Consumer {
    /// Sets the service that owns the consumer.
    pub(crate) fn belong_to(&mut self, service: &str) {
        service.clone_into(&mut self.service);
    }

    /// The service that owns the consumer.
    pub(crate) fn owner(&self) -> &str {
        &self.service
    }

    /// The durable consumer's name on the server.
    pub(crate) fn durable_name(&self) -> String {
        match &self.durable {
            Some(name) => name.clone(),
            None => format!("{}-{}", self.service, self.name),
        }
    }

    /// The owner in the form of metadata.
    pub(super) fn ownership(&self, database: Option<&str>) -> HashMap<String, String> {
        [
            (OWNER, Some(&*self.service)),
            (FUNCTION, Some(&self.name)),
            (DATABASE, database),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
    }

    /// The existing consumer, if this function may use it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if another service owns it, or may own it.
    pub(crate) async fn look(&self, nats: &Nats, take_over: bool) -> Result<Option<ConsumerInfo>> {
        match consumer_info(nats, self.stream.name(), &self.durable_name()).await {
            Err(error) if error.kind() == Kind::NotFound => {
                self.refuse_former(nats).await?;
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(found) => {
                if !take_over {
                    self.check_owner(&found)?;
                }
                Ok(Some(found))
            }
        }
    }

    /// Whether another service owns it. One without an owner comes from an earlier version or was made
    /// by hand: whoever names it may use it, and the first `setup` makes it the service's own.
    pub(crate) fn is_foreign(&self, found: &ConsumerInfo) -> bool {
        found
            .metadata(OWNER)
            .is_some_and(|owner| owner != self.service)
    }

    /// Refuses a consumer that another service owns, or that cannot feed a function.
    pub(crate) fn check_owner(&self, found: &ConsumerInfo) -> Result<()> {
        let (durable, stream) = (self.durable_name(), self.stream.name());
        if let Some(unfit) = unfit(found) {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the consumer {durable} of {stream} {unfit}, and cannot feed the function {}: give the function another one with .durable(\"NAME\"), or delete this one: nats consumer rm {stream} {durable}",
                    self.name
                ),
            ));
        }
        if !self.is_foreign(found) {
            return Ok(());
        }
        let owner = found.metadata(OWNER).unwrap_or_default();
        Err(Error::new(
            Kind::Conflict,
            format!(
                "the consumer {durable} of {stream} belongs to the service {owner}: shared, each would get a part of the messages. \
                 Give the function {} one of its own with .durable(\"NAME\"); or, where {owner} does not need it any more, let it go on for this service: {} setup --take-over {durable}",
                self.name, self.service
            ),
        ))
    }

    /// What earlier versions of natsfn called the consumer; none where the definition names it.
    pub(crate) fn former_name(&self) -> Option<&str> {
        self.durable.is_none().then_some(self.name.as_str())
    }

    /// Refuses to start at the stream's first message if there is a consumer from an earlier version of
    /// natsfn, which named consumers after the function alone: handled messages would be handled again.
    /// Continuing with that consumer would lose messages if it belongs to somebody else.
    async fn refuse_former(&self, nats: &Nats) -> Result<()> {
        let Some(name) = self.former_name() else {
            return Ok(());
        };
        let (durable, stream) = (self.durable_name(), self.stream.name());
        match consumer_info(nats, stream, name).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(former) if former.metadata(OWNER).is_some() => Ok(()),
            Ok(_) => Err(Error::new(
                Kind::Conflict,
                format!(
                    "{stream} has a consumer {name} without an owner, as earlier versions of natsfn named it, and none {durable}. \
                     If it is the one of this function, say .durable(\"{name}\"): it goes on where it is. \
                     If it is somebody else's, say .durable(\"{durable}\"): a new one begins at the stream's first message"
                ),
            )),
        }
    }
}

/// A setting that makes a consumer unusable for a function and cannot be changed.
fn unfit(found: &ConsumerInfo) -> Option<&'static str> {
    let text = |key: &str| found.config.get(key).and_then(|value| value.as_str());
    if text("deliver_subject").is_some() {
        Some("pushes its messages")
    } else if text("ack_policy").is_some_and(|policy| policy != "explicit") {
        Some("takes no acknowledgement of single messages")
    } else {
        None
    }
}
