//! A check of a configuration value beyond its type.

use std::any::Any;
use std::fmt::Display;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a value and refuses an invalid one, for `#[serde(deserialize_with)]` of a key.
/// [`load()`](super::load()) then reports it with its source, together with every other mistake.
///
/// ```
/// use natsfn::config::checked;
/// use serde::{Deserialize, Deserializer};
///
/// #[derive(Deserialize)]
/// struct Limits {
///     #[serde(deserialize_with = "rate")]
///     rate: f64,
/// }
///
/// fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
///     checked(deserializer, "a number above 0", |rate| *rate > 0.0)
/// }
/// ```
///
/// # Errors
/// `is VALUE, must be MUST_BE`, a text in quotes. Not for secrets, since the sentence repeats the
/// value.
pub fn checked<'de, T, D>(
    deserializer: D,
    must_be: &str,
    is_right: impl FnOnce(&T) -> bool,
) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Display + 'static,
    D: Deserializer<'de>,
{
    let value = T::deserialize(deserializer)?;
    if is_right(&value) {
        Ok(value)
    } else {
        let text = (&value as &dyn Any).downcast_ref::<String>();
        let shown = text.map_or_else(|| value.to_string(), |text| format!("{text:?}"));
        Err(D::Error::custom(format!("is {shown}, must be {must_be}")))
    }
}
