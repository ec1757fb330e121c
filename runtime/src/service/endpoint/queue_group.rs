//! The queue group in which instances share requests.

/// The queue group of an endpoint: its own, else the service's, else `q`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueGroup {
    #[default]
    Inherit,
    Named(String),
    Off,
}

impl QueueGroup {
    /// Resolves this level with the result of the level above. `None` is a plain subscription: every
    /// instance gets every request.
    pub(crate) fn or<'a>(&'a self, above: Option<&'a str>) -> Option<&'a str> {
        match self {
            Self::Inherit => above,
            Self::Named(name) => Some(name),
            Self::Off => None,
        }
    }
}
