//! Reports the panic of a task that nobody awaits.

use tokio::sync::watch;

/// A task owns this. If the task panics, it sends true, so that what depends on the task starts again
/// instead of waiting for ever.
pub(crate) struct OnPanic(pub(crate) watch::Sender<bool>);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_of_a_task_is_told_and_its_end_is_not() {
        for panics in [false, true] {
            let (sender, told) = watch::channel(false);
            let task = tokio::spawn(async move {
                let _on_panic = OnPanic(sender.clone());
                tokio::task::yield_now().await;
                assert!(!panics, "this is the panic");
            });
            assert_eq!(task.await.is_err(), panics);
            assert_eq!(*told.borrow(), panics);
        }
    }
}
