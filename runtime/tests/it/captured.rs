//! The log of one test: whatever runs on its thread writes it here.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// Takes the log of the thread for as long as it lives: tokio's tests run on one.
pub(crate) struct Captured {
    text: Text,
    _here: DefaultGuard,
    _second: tracing::Dispatch,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn begin() -> Self {
        // With one subscriber alone, a line that another test's thread meets first, where there is
        // none, would be off for good.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            text,
            _here: tracing::subscriber::set_default(subscriber),
            _second: second,
        }
    }

    /// The lines of natsfn so far that contain this.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        let text = self.text.0.lock().unwrap();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| line.contains("natsfn") && line.contains(part))
            .map(str::to_owned)
            .collect()
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
