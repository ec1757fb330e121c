//! The subjects of JetStream's API; no other file spells them.

/// The prefix of every call's subject.
pub(super) const PREFIX: &str = "$JS.API.";

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
