//! Pulls messages, as many as there is room for.

use std::pin::pin;
use std::time::Duration;

use async_nats::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Feed, FoundConsumer};
use crate::error::Error;
use crate::nats::intake::Taken;
use crate::nats::pull::{EXPIRES, Pulled, Puller};
use crate::run::consumer::position::Position;
use crate::telemetry::stats::{State, Stats};

/// Delayed until our own pull requests have ended, or the message would be redelivered to us.
const GIVE_BACK: &str = r#"-NAK {"delay": 1000000000}"#;

impl Feed {
    pub(super) async fn read(
        &self,
        queue: mpsc::Sender<Message>,
        capacity: usize,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some((mut puller, mut taken)) = self.open(&mut stop).await else {
            return;
        };
        let mut probes = Probes::new(capacity);
        // How often the consumer was lost without a message between.
        let mut lost = 0;
        loop {
            let stopping = *stop.borrow();
            if stopping && puller.is_idle() {
                return;
            }
            if !stopping
                && self.current().is_none()
                && !self.locate_beside(&mut puller, &mut stop).await
            {
                continue;
            }
            let probe_at = self.settler.evidence.probe_at();
            let probe_at = probe_at.map(|at| at.max(probes.not_before));
            if !stopping
                && self.may_read()
                && let Some(FoundConsumer { limits, .. }) = self.current()
            {
                let open = puller.outstanding();
                let free = queue.capacity().saturating_sub(open);
                let (n, expires) = match probe_at {
                    // Asked for in halves: a request for every message would cost more than it brings.
                    // Where the consumer takes few in one request, the one before has brought half of them.
                    None if free >= capacity.div_ceil(2) && open <= limits.messages / 2 => {
                        (free, EXPIRES)
                    }
                    Some(at) if free > 0 && puller.is_idle() && Instant::now() >= at => {
                        (probes.next().min(free), Probes::EXPIRES)
                    }
                    _ => (0, EXPIRES),
                };
                if let Err(error) = puller.ask(n, expires, limits).await {
                    tracing::warn!(%error, "a pull request was not sent");
                }
            }
            let later = probe_at.filter(|at| *at > Instant::now());
            tokio::select! {
                pulled = puller.next() => match pulled {
                    Pulled::Message(message) => {
                        lost = 0;
                        probes.saw(self.take(*message, &queue).await);
                    }
                    Pulled::Ended => {
                        lost = 0;
                        if puller.is_idle() && queue.capacity() < capacity.div_ceil(2) {
                            self.look_for_another().await;
                        }
                    }
                    Pulled::Closed if !stopping && self.intake.is_replaced() => {
                        self.intake.ended(&taken);
                        match self.open(&mut stop).await {
                            Some(opened) => (puller, taken) = opened,
                            None => return,
                        }
                    }
                    Pulled::Closed => return,
                    Pulled::Lost(reason) if stopping => {
                        tracing::debug!(reason, "the consumer is gone while draining");
                        return;
                    }
                    Pulled::Lost(reason) => {
                        tracing::warn!(consumer = %self.consumer.name, reason, "looking for the consumer again");
                        self.found.send_replace(None);
                        lost += 1;
                        // It is there, and yet no message can be asked for: an account may import one without the other.
                        if lost > 2 {
                            self.pause(&Error::unavailable(reason), lost - 2, &mut stop).await;
                        }
                    }
                },
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {}
                Ok(()) = stop.changed(), if !stopping => {}
            }
        }
    }

    /// Lets messages come in on a connection. None when it is time to stop.
    async fn open(&self, stop: &mut watch::Receiver<bool>) -> Option<(Puller, Taken)> {
        let (stream, durable) = (self.consumer.stream.name(), self.consumer.durable_name());
        loop {
            let taken = tokio::select! {
                taken = self.intake.take() => taken,
                _ = stop.wait_for(|stop| *stop) => return None,
            };
            let error = match taken {
                Ok(taken) => match Puller::new(&taken.nats, stream, &durable).await {
                    Ok(puller) => return Some((puller, taken)),
                    Err(error) => {
                        self.intake.ended(&taken);
                        error
                    }
                },
                Err(error) => error,
            };
            if !self.pause(&error, 1, stop).await {
                return None;
            }
        }
    }

    /// Finds the consumer, and meanwhile gives back the messages that an earlier pull request still brings:
    /// otherwise no other instance would get them before the ack wait is over.
    async fn locate_beside(&self, puller: &mut Puller, stop: &mut watch::Receiver<bool>) -> bool {
        let mut locate = pin!(self.locate(stop));
        loop {
            tokio::select! {
                located = &mut locate => return located,
                pulled = puller.next() => match pulled {
                    Pulled::Message(message) => {
                        if let Some(ack) = message.reply {
                            // If this cannot be sent, the message is redelivered after the ack wait.
                            let _ = self.nats.publish(ack, GIVE_BACK.into()).await;
                        }
                    }
                    Pulled::Closed => return locate.await,
                    Pulled::Ended | Pulled::Lost(_) => {}
                },
            }
        }
    }

    fn may_read(&self) -> bool {
        let holds = &self.settler.holds;
        match self.stats.state() {
            State::Running => true,
            State::Holding(_) => holds.lasts() && holds.lets_read(),
            _ => false,
        }
    }

    /// Holds a message and queues it; the queue has room, since no more were asked for. True if this is its
    /// first delivery.
    async fn take(&self, message: Message, queue: &mpsc::Sender<Message>) -> bool {
        Stats::add(&self.stats.requests, 1);
        let Some((position, ack)) = Position::of(&message).zip(message.reply.clone()) else {
            tracing::warn!(subject = %message.subject, "a delivery without an acknowledgement subject");
            return false;
        };
        self.readable.lock().1.insert(position.seq);
        let key = position.key();
        if self.settler.in_progress.hold(key, ack) && queue.try_send(message).is_err() {
            // After a standstill an earlier request was answered too.
            self.settler.give_back_of(&[key]).await;
        }
        position.delivered == 1
    }
}

/// How many messages are asked for while nothing succeeds. The server sends redelivered ones first; if
/// only such have come, more are asked for, so that a new one is among them.
///
/// The requests are short, with pauses after those that bring nothing. The server gives a message to the
/// request that has waited longest: an instance that always had one open could again and again take the
/// messages that it fails at from an instance at which they would succeed.
struct Probes {
    capacity: usize,
    not_before: Instant,
    n: usize,
    came: usize,
    new: bool,
}

impl Probes {
    const FEWEST: usize = 4;
    const EXPIRES: Duration = Duration::from_millis(100);
    const PAUSE: Duration = Duration::from_secs(1);

    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            not_before: Instant::now(),
            n: Self::FEWEST,
            came: 0,
            new: true,
        }
    }

    fn next(&mut self) -> usize {
        let more = self.came >= self.n && !self.new;
        self.n = if more {
            (self.n * 2).min(self.capacity)
        } else {
            Self::FEWEST
        };
        (self.came, self.new) = (0, false);
        self.not_before = Instant::now() + Self::PAUSE;
        self.n
    }

    fn saw(&mut self, new: bool) {
        self.not_before = Instant::now();
        self.came += 1;
        self.new |= new;
    }
}
