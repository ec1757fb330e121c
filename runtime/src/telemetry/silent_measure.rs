//! Measurements where OpenTelemetry is left out: none.

use std::sync::Arc;
use std::time::Duration;

use super::stats::{Counters, Stats};
use crate::error::Kind;

#[derive(Clone, Debug, Default)]
pub(crate) struct Labels;

impl Labels {
    pub(crate) fn new<'a>(_: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        Self
    }
}

pub(crate) fn is_on() -> bool {
    false
}

pub(crate) fn processed(_: &Labels, _: Duration, _: Option<Kind>) {}

pub(crate) fn called(_: &'static str, _: Option<&str>, _: Duration, _: Option<Kind>) {}

#[cfg(feature = "sea-orm")]
pub(crate) fn queried(_: &'static str, _: &str, _: Option<&str>, _: Duration, _: Option<String>) {}

pub(crate) fn received(_: &Labels, _: usize) {}

pub(crate) fn outcome(_: &Labels, _: &'static str) {}

pub(crate) fn watch(_: &str, _: &str, _: Option<Counters>, _: &Arc<Stats>) {}
