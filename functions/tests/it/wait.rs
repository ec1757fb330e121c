//! Waiting for what must come. The limit is a guard: only a hang meets it.

use std::future::Future;
use std::time::Duration;

/// Far longer than anything here takes.
pub(crate) const GUARD: Duration = Duration::from_secs(180);

/// Ends a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("this hangs")
}

/// Looks until there is an answer; the interval only spares the processor.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(GUARD, looking)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
