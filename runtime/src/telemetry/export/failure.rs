//! Why the last request to a collector failed: OTLP over HTTP says "network error", whatever it was.

use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;

/// Shared by who sends and who logs; none while requests are answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub(super) fn set(&self, error: &(dyn Error + 'static)) {
        *self.0.lock() = Some(root(error).to_string());
    }

    pub(super) fn clear(&self) {
        *self.0.lock() = None;
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// The error at the bottom: those above it only say what was being done.
pub(super) fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
