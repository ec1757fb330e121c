//! A function that answers requests.

pub(crate) mod codec;
pub(crate) mod queue_group;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::rate_limit::RateLimit;
use crate::error::Result;
use crate::function::event::Request;
use crate::function::handler::Call;
use crate::function::handler::layer::{Layer, Next};
use crate::function::reply::Response;
use crate::nats::client::access::{Access, declares};
use codec::Codec;
use queue_group::QueueGroup;

/// A function that answers requests on a subject.
///
/// What blocks its thread, such as a long computation or a file, belongs in [`tokio::task::spawn_blocking`]: until the
/// function awaits something, other requests may wait behind it.
///
/// ```
/// use std::time::Duration;
///
/// use natsfn::{Endpoint, Json, Path, Service};
///
/// async fn price(Path(sku): Path<String>) -> Json<u32> {
///     Json(if sku == "tea" { 350 } else { 420 })
/// }
///
/// // `nats req shop.price.tea ''` calls it with "tea".
/// let endpoint = Endpoint::new("price", "shop.price.{sku}")
///     .deadline(Duration::from_secs(2))
///     .max_in_flight(64);
/// let shop = Service::new("shop", "1.0.0").endpoint(endpoint, price);
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) queue_group: QueueGroup,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) deadline: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) uses: Vec<Access>,
    pub(crate) codec: Option<Arc<dyn Codec>>,
    pub(crate) layers: Vec<Layer<Request>>,
}

/// An endpoint with its handler.
pub(crate) struct RequestTrigger {
    pub(crate) endpoint: Endpoint,
    pub(crate) call: Call<Request>,
}

impl Endpoint {
    /// An endpoint with a name for discovery and a subject template: a token may be `{name}`, which
    /// `Path` extracts, or a wildcard.
    pub fn new(name: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            subject: subject.into(),
            queue_group: QueueGroup::Inherit,
            metadata: BTreeMap::new(),
            deadline: Duration::from_secs(5),
            max_in_flight: 256,
            rate_limit: None,
            uses: Vec::new(),
            codec: None,
            layers: Vec::new(),
        }
    }

    declares!();

    /// How long a request may take, waiting for its turn included (5 s by default): then the
    /// caller gets a 504, or a 503 if its turn never came.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many requests run at once in one instance, until their answers are sent (256 by default; `usize::MAX` for any
    /// number).
    #[must_use]
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = n;
        self
    }

    /// A queue group of its own, instead of the service's.
    #[must_use]
    pub fn queue_group(mut self, name: impl Into<String>) -> Self {
        self.queue_group = QueueGroup::Named(name.into());
        self
    }

    /// No queue group: every instance answers every request.
    #[must_use]
    pub fn no_queue_group(mut self) -> Self {
        self.queue_group = QueueGroup::Off;
        self
    }

    /// Adds to the endpoint's metadata in discovery.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Puts a layer around this endpoint, inside those of the service ([`Service::layer`](crate::Service::layer)).
    #[must_use]
    pub fn layer<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Request, Next<Request>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response>> + Send + 'static,
    {
        self.layers.push(Layer::new(layer));
        self
    }

    /// Limits how often one caller may ask, and how much at once; over it a 429 with
    /// `details.retry_after_ms`.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }
}

impl From<&str> for Endpoint {
    /// The name is the subject too.
    fn from(name: &str) -> Self {
        Self::new(name, name)
    }
}
