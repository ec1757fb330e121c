//! A check of a configuration value beyond its type.

use std::any::Any;
use std::fmt::{self, Display};

use serde::de::value::F64Deserializer;
use serde::de::{Error, Visitor};
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

/// Reads a number of seconds.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let seconds: f64 = deserializer.deserialize_f64(Seconds)?;
    checked(
        F64Deserializer::new(seconds),
        "from 0.1 to 3600 seconds",
        |seconds| (0.1..=3600.0).contains(seconds),
    )
}

/// Reads a number, and says its unit where there is something else.
struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, such as 3")
    }

    fn visit_f64<E>(self, seconds: f64) -> Result<f64, E> {
        Ok(seconds)
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<f64, E> {
        Ok(seconds as f64)
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<f64, E> {
        Ok(seconds as f64)
    }
}
