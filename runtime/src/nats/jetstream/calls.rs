//! The subjects of JetStream's API; no other file spells them. All are those of the server's own JetStream until
//! [`Api::subject`] turns one into that of the JetStream that is meant.

use std::fmt;

use crate::config::NatsConfig;

/// The prefix of every call's subject.
const PREFIX: &str = "$JS.API.";

/// Which JetStream is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Api {
    /// That of the server and the account that the connection has.
    #[default]
    Own,
    /// That of this domain.
    Domain(String),
    /// The one whose API is imported under this prefix.
    Prefix(String),
}

impl Api {
    pub(crate) fn of(config: &NatsConfig) -> Self {
        match (&config.domain, config.api_prefix.as_deref()) {
            (Some(domain), _) => Self::Domain(domain.clone()),
            (None, None | Some("$JS.API")) => Self::Own,
            // A domain by another name: its messages are known by it.
            (None, Some(prefix)) => match domain_of(prefix) {
                Some(domain) => Self::Domain(domain.to_owned()),
                None => Self::Prefix(prefix.to_owned()),
            },
        }
    }

    pub(crate) fn is_own(&self) -> bool {
        *self == Self::Own
    }

    /// The subject of a call, and of a write to a bucket, as this JetStream has it. A server of another domain keeps
    /// plain `$KV` to itself; every client writes so. Any other subject is what it was.
    pub(crate) fn subject(&self, subject: &str) -> String {
        let prefix = match self {
            Self::Own => return subject.to_owned(),
            Self::Domain(domain) => format!("$JS.{domain}.API"),
            Self::Prefix(prefix) => prefix.clone(),
        };
        match subject.strip_prefix(PREFIX) {
            Some(call) => format!("{prefix}.{call}"),
            None if subject.starts_with("$KV.") => format!("{prefix}.{subject}"),
            None => subject.to_owned(),
        }
    }
}

/// As a person names it.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("the server's own JetStream"),
            Self::Domain(domain) => write!(f, "the JetStream of the domain {domain}"),
            Self::Prefix(prefix) => write!(f, "the JetStream under {prefix}"),
        }
    }
}

/// The domain whose prefix this is.
fn domain_of(prefix: &str) -> Option<&str> {
    let domain = prefix.strip_prefix("$JS.")?.strip_suffix(".API")?;
    (!domain.contains('.')).then_some(domain)
}

/// Whether JetStream is there.
pub(crate) const INFO: &str = "INFO";

/// Whether the same is asked of the server's own JetStream where another one is meant: its streams may take what is for
/// ours, and so may a consumer of the same name. `subject` is whole.
pub(crate) fn is_asked_of_both(subject: &str) -> bool {
    let call = subject.strip_prefix(PREFIX);
    // Consumers that read a bucket have names that nobody knows before.
    let is_of_one = |call: &str| call.starts_with("CONSUMER.INFO.") && !call.ends_with('*');
    call.is_some_and(|call| call == LIST_STREAMS || is_of_one(call))
}

/// All streams, a part at a time.
pub(crate) const LIST_STREAMS: &str = "STREAM.LIST";

pub(crate) fn stream_info(stream: &str) -> String {
    format!("STREAM.INFO.{stream}")
}

pub(crate) fn create_stream(stream: &str) -> String {
    format!("STREAM.CREATE.{stream}")
}

pub(crate) fn update_stream(stream: &str) -> String {
    format!("STREAM.UPDATE.{stream}")
}

pub(crate) fn purge(stream: &str) -> String {
    format!("STREAM.PURGE.{stream}")
}

/// A message by its sequence, or the next one of a subject; answered by the leader.
pub(crate) fn message(stream: &str) -> String {
    format!("STREAM.MSG.GET.{stream}")
}

pub(crate) fn delete_message(stream: &str) -> String {
    format!("STREAM.MSG.DELETE.{stream}")
}

pub(crate) fn consumer_info(stream: &str, consumer: &str) -> String {
    format!("CONSUMER.INFO.{stream}.{consumer}")
}

/// Creates or changes a consumer. The server checks permissions against a single filter only.
pub(crate) fn create_consumer(stream: &str, consumer: &str, filter: Option<&str>) -> String {
    let end = filter.map_or_else(String::new, |filter| format!(".{filter}"));
    format!("CONSUMER.CREATE.{stream}.{consumer}{end}")
}

pub(crate) fn delete_consumer(stream: &str, consumer: &str) -> String {
    format!("CONSUMER.DELETE.{stream}.{consumer}")
}

/// The whole subjects with which an ordered consumer reads one filter of a stream: async-nats lets the server name it,
/// makes it again by a name where it was lost, asks and deletes it, and answers the server's flow control, in both
/// forms of that (see [`acks`]).
pub(crate) fn ordered_consumer(stream: &str, filter: &str) -> [String; 6] {
    [
        whole(&format!("CONSUMER.CREATE.{stream}")),
        whole(&create_consumer(stream, "*", Some(filter))),
        whole(&consumer_info(stream, "*")),
        whole(&delete_consumer(stream, "*")),
        format!("$JS.FC.{stream}.>"),
        format!("$JS.FC.*.*.{stream}.>"),
    ]
}

/// The whole subject of a pull request; the answers are messages.
pub(crate) fn pull(stream: &str, consumer: &str) -> String {
    format!("{PREFIX}CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

/// The whole subject of a direct get; any replica answers, with messages.
pub(crate) fn direct_get(stream: &str) -> String {
    format!("{PREFIX}DIRECT.GET.{stream}")
}

/// The whole subject of a call.
pub(crate) fn whole(call: &str) -> String {
    format!("{PREFIX}{call}")
}

/// The subjects of a consumer's acks: in their first form, and in the one with domain and account,
/// which nats-server uses with `js_ack_fc_v2`.
pub(crate) fn acks(stream: &str, consumer: &str) -> [String; 2] {
    [
        format!("$JS.ACK.{stream}.{consumer}.>"),
        format!("$JS.ACK.*.*.{stream}.{consumer}.>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_a_domain_is_read_as_the_domain() {
        let api = |prefix: &str| {
            let api_prefix = Some(prefix.to_owned());
            Api::of(&NatsConfig {
                api_prefix,
                ..NatsConfig::default()
            })
        };
        assert_eq!(api("$JS.API"), Api::Own);
        assert_eq!(api("$JS.hub.API"), Api::Domain("hub".to_owned()));
        assert_eq!(api("$JS.hub.API").subject("$KV.a.b"), "$JS.hub.API.$KV.a.b");
        assert_eq!(api("hubjs.API").subject(&whole(INFO)), "hubjs.API.INFO");
        assert_eq!(api("hubjs.API").subject("orders.bob"), "orders.bob");
    }
}
