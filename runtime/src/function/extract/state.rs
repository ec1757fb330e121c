//! The service's state, as an argument.

use super::FromEvent;
use crate::error::Result;

/// The service's state.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Arc;
///
/// use natsfn::{Json, Path, Service, State};
///
/// #[derive(Clone, Default)]
/// struct Shop {
///     prices: Arc<HashMap<String, u32>>,
/// }
///
/// async fn price(State(shop): State<Shop>, Path(sku): Path<String>) -> Json<Option<u32>> {
///     Json(shop.prices.get(&sku).copied())
/// }
///
/// let shop = Service::new("shop", "1.0.0").state(Shop::default());
/// # let _ = shop.endpoint(natsfn::Endpoint::new("price", "shop.price.{sku}"), price);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(pub T);

impl<E, S: Clone> FromEvent<E, S> for State<S> {
    fn from_event(_: &mut E, state: &S) -> Result<Self> {
        Ok(Self(state.clone()))
    }
}
