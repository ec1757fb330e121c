//! What an operator allows `setup` to do beyond its safe defaults.

/// What an operator allows [`setup_with`](super::setup_with) to do; by default nothing that could lose
/// a message or change what belongs to another owner.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) only_plan: bool,
    pub(super) adopt: bool,
    take_over: Vec<String>,
    shrink: Vec<String>,
}

impl Options {
    /// Only reports what would be done.
    #[must_use]
    pub fn only_plan(mut self) -> Self {
        self.only_plan = true;
        self
    }

    /// Makes the service the owner of a stream or a durable consumer, whoever owned it before.
    #[must_use]
    pub fn take_over(mut self, name: impl Into<String>) -> Self {
        self.take_over.push(name.into());
        self
    }

    /// Makes the service the owner of every stream without one, even if it differs from what the
    /// service wants: for a server that only this service uses, as in development.
    #[must_use]
    pub fn adopt(mut self) -> Self {
        self.adopt = true;
        self
    }

    /// Lets a stream lose subjects, shorten limits and lower replicas.
    #[must_use]
    pub fn shrink(mut self, stream: impl Into<String>) -> Self {
        self.shrink.push(stream.into());
        self
    }

    pub(super) fn takes_over(&self, name: &str) -> bool {
        self.take_over.iter().any(|taken| taken == name)
    }

    pub(super) fn shrinks(&self, stream: &str) -> bool {
        self.shrink.iter().any(|shrunk| shrunk == stream)
    }

    /// The given names that are no stream or consumer of the service: probably typing mistakes.
    pub(super) fn unknown(&self, streams: &[&str], consumers: &[String]) -> Vec<String> {
        let is_stream = |name: &str| streams.contains(&name);
        let take_over = self.take_over.iter().map(|name| ("--take-over", name));
        let shrink = self.shrink.iter().map(|name| ("--shrink", name));
        take_over
            .filter(|(_, name)| !is_stream(name) && !consumers.contains(name))
            .chain(shrink.filter(|(_, name)| !is_stream(name)))
            .map(|(option, name)| {
                format!(
                    "{option} {name}: the service has no such stream or consumer; it has: {} {}",
                    streams.join(" "),
                    consumers.join(" ")
                )
            })
            .collect()
    }
}
