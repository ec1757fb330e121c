//! The inbox rows that a batch claims. A replayed dead letter is claimed under the sequence and time
//! that it had first.

use std::borrow::Cow;

use async_nats::Subject;

use super::progress::Progress;
use super::stream_life::StreamLife;
use crate::error::{Error, Result};
use crate::function::database::Inbox;
use crate::function::event::StreamId;
use crate::function::template::Template;
use crate::nats::replay::Replay;

/// How far the ack floor moves before the rows below it are deleted.
const PRUNE_EVERY: u64 = 1_000;

/// SQL: the message lies above what is settled, or is newer. It holds for messages that every filter
/// of the consumer let through.
const NOT_SETTLED: &str = "(list.seq > life.settled_seq OR list.time_ns > life.settled_ns)";

/// The rows of one batch.
pub(in crate::sql) struct Claim {
    pub(in crate::sql) life: StreamLife,
    /// In the order of their sequences.
    pub(super) rows: Vec<Row>,
    /// What the only message had first, where it is a replayed dead letter.
    pub(super) replayed: Option<Row>,
    /// Every message up to here is settled, and none of this batch is.
    pub(in crate::sql) floor: u64,
    /// None of it was ever delivered before.
    pub(super) first: bool,
    pub(super) subjects: Vec<(i64, Subject)>,
    /// What the consumer is fed with now.
    pub(in crate::sql) filter: String,
}

/// A message's sequence, and the time at which the stream stored it, in ns since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) time_ns: i64,
}

impl Row {
    pub(super) fn new(seq: u64, time_ns: i64) -> Self {
        Self {
            seq: seq.cast_signed(),
            time_ns,
        }
    }

    /// The row by which a replayed message is known.
    pub(super) fn of_replay(self) -> Self {
        Self {
            seq: -self.seq,
            ..self
        }
    }
}

impl Claim {
    /// Whether [`enter_first`](super::enter_first) will do.
    pub(in crate::sql) fn may_be_first(&self, progress: &Progress) -> bool {
        self.first
            && self
                .rows
                .first()
                .is_none_or(|row| row.seq > progress.untimed)
    }

    /// Whether the ack floor has moved far enough since.
    pub(in crate::sql) fn is_due(&self, pruned: Option<u64>) -> bool {
        pruned.is_none_or(|at| self.floor >= at + PRUNE_EVERY)
    }

    /// What the batch adds to the table: with a replayed message, also what it is known by.
    pub(super) fn all_rows(&self) -> Vec<Row> {
        let replayed = self.replayed.map(Row::of_replay);
        self.rows.iter().copied().chain(replayed).collect()
    }

    /// SQL: no earlier batch has shown the message to be settled.
    pub(super) fn not_settled(&self, progress: &Progress) -> Cow<'static, str> {
        let passed_over: Vec<String> = self
            .subjects
            .iter()
            .filter(|(_, subject)| !progress.lets_through(subject))
            .map(|(seq, _)| seq.to_string())
            .collect();
        if passed_over.is_empty() {
            return NOT_SETTLED.into();
        }
        let passed_over = passed_over.join(", ");
        format!("({NOT_SETTLED} OR list.seq IN ({passed_over}))").into()
    }

    /// None for an empty batch.
    pub(in crate::sql) fn of(inbox: &Inbox<'_>) -> Result<Option<Self>> {
        let [first, ..] = inbox.entries else {
            return Ok(None);
        };
        let stream = first.stream();
        let same = |other: &StreamId| other.name == stream.name && other.created == stream.created;
        if !inbox.entries.iter().all(|entry| same(entry.stream())) {
            // Sequences would mean two things; alone, each message means one.
            return Err(Error::internal("a batch from two lives of a stream"));
        }
        let entries = inbox.entries.iter();
        let mut rows: Vec<Row> = entries
            .map(|entry| Row::new(entry.seq(), entry.time_ns()))
            .collect();
        // Two processes with the same messages wait for each other in the same order.
        rows.sort_unstable();
        if rows.windows(2).any(|pair| pair[0].seq == pair[1].seq) {
            // Delivered again before it was begun: alone, the second one is done already.
            return Err(Error::internal("a batch that has a message twice"));
        }
        let mut replays = inbox.entries.iter().filter_map(|entry| {
            let replay = Replay::of(entry.headers())?;
            (replay.stream == stream.name).then(|| Row::new(replay.seq, replay.time_ns))
        });
        let replayed = replays.next();
        if replayed.is_some() && rows.len() > 1 {
            return Err(Error::internal("a batch that has a replayed message"));
        }
        let floors = inbox.entries.iter().map(|entry| entry.stream().ack_floor);
        let first_seq = rows.first().map_or(0, |row| row.seq.cast_unsigned());
        let floor = floors.max().unwrap_or(0).min(first_seq.saturating_sub(1));
        let life = StreamLife::new(inbox.service, inbox.function, stream);
        let first = inbox.entries.iter().all(|entry| entry.delivered() <= 1);
        Ok(Some(Self {
            life,
            rows,
            floor,
            first: first && replayed.is_none(),
            replayed,
            subjects: inbox
                .entries
                .iter()
                .map(|entry| (entry.seq().cast_signed(), entry.message.subject.clone()))
                .collect(),
            filter: inbox
                .filter
                .iter()
                .map(Template::subject)
                .collect::<Vec<_>>()
                .join(" "),
        }))
    }
}
