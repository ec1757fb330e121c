//! A connection of its own for what a stream sends. A stored message that no client can read ends it
//! (nats-io/nats.rs#1612): it is replaced alone, and everything else goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_nats::connection::State;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::connect::Trouble;
use super::connections::Connector;
use super::link::Link;
use crate::error::run_error::RunError;
use crate::error::{Error, Result};
use crate::nats::jetstream::Nats;
use crate::telemetry::unheard::Unheard;

/// One connection at a time; the service's main one where nothing makes others.
pub(crate) struct Intake {
    main: Nats,
    own: Option<OwnConnection>,
}

struct OwnConnection {
    connector: Arc<Connector>,
    /// Its part of the connection's name.
    purpose: String,
    unheard: Arc<Unheard>,
    /// Which one of the service it is.
    number: usize,
    open: Mutex<Open>,
    /// The connection that is being made, one at a time. Who waits for it may give up: it goes on being
    /// made, for the next.
    making: tokio::sync::Mutex<Option<Making>>,
    trouble: Trouble,
}

type Making = AbortOnDropHandle<Result<Link, RunError>>;

#[derive(Default)]
struct Open {
    link: Option<(Nats, AbortOnDropHandle<()>)>,
    /// How many there were.
    made: u64,
    /// How often those before this one were connected.
    connects: u64,
}

/// A connection as it was when it was asked for.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) nats: Nats,
    made: u64,
}

impl Intake {
    /// Connects when it is first asked for.
    pub(crate) fn new(
        main: &Nats,
        connector: Option<&Arc<Connector>>,
        purpose: String,
        unheard: &Arc<Unheard>,
        number: usize,
    ) -> Self {
        let own = connector.map(|connector| OwnConnection {
            connector: connector.clone(),
            purpose,
            unheard: unheard.clone(),
            number,
            open: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            trouble: Trouble::default(),
        });
        Self {
            main: main.clone(),
            own,
        }
    }

    /// Whether one that has ended is replaced.
    pub(crate) fn is_replaced(&self) -> bool {
        self.own.is_some()
    }

    /// The connection: the one that is open, or another as soon as the server lets it in.
    pub(crate) async fn take(&self) -> Result<Taken> {
        let Some(own) = &self.own else {
            let nats = self.main.clone();
            return Ok(Taken { nats, made: 0 });
        };
        let mut making = own.making.lock().await;
        if let Some(taken) = own.living() {
            return Ok(taken);
        }
        // Nobody waited for it, and why it failed then says nothing of now.
        let over = making.take_if(|making| making.is_finished());
        let made = match over {
            Some(over) => over.await.ok().and_then(Result::ok),
            None => None,
        };
        let ended = match made {
            Some(link) => Ok(Ok(link)),
            None => making.get_or_insert_with(|| own.make()).await,
        };
        *making = None;
        let link = ended.map_err(|error| Error::unavailable(error.to_string()))?;
        let link = link.map_err(|error| Error::unavailable(error.to_string()))?;
        let (nats, unheard, number) = (link.nats.clone(), own.unheard.clone(), own.number);
        let watch = tokio::spawn(async move { link.watch(&unheard, number).await });
        let mut open = own.open.lock();
        open.made += 1;
        open.link = Some((nats.clone(), AbortOnDropHandle::new(watch)));
        let made = open.made;
        Ok(Taken { nats, made })
    }

    /// The connection that was taken has ended: the next one is another.
    pub(crate) fn ended(&self, taken: &Taken) {
        if let Some(own) = &self.own {
            let mut open = own.open.lock();
            if open.made == taken.made {
                own.close(&mut open);
            }
        }
    }

    /// Whether messages can come in.
    pub(crate) fn is_connected(&self) -> bool {
        let Some(own) = &self.own else {
            return self.main.connection_state() == State::Connected;
        };
        let open = own.open.lock();
        open.link.as_ref().is_some_and(|(nats, watch)| {
            !watch.is_finished() && nats.connection_state() == State::Connected
        })
    }

    /// How often all of its connections were made, which tells one from the next.
    pub(crate) fn connects(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| {
            let open = own.open.lock();
            let now = open.link.as_ref().map_or(0, |(nats, _)| connects(nats));
            open.connects + now
        })
    }
}

impl OwnConnection {
    fn make(&self) -> Making {
        let (connector, purpose) = (self.connector.clone(), self.purpose.clone());
        AbortOnDropHandle::new(tokio::spawn(
            async move { connector.connect(&purpose).await },
        ))
    }

    fn living(&self) -> Option<Taken> {
        let mut open = self.open.lock();
        if open.link.as_ref()?.1.is_finished() {
            self.close(&mut open);
        }
        let (nats, _) = open.link.as_ref()?;
        Some(Taken {
            nats: nats.clone(),
            made: open.made,
        })
    }

    fn close(&self, open: &mut Open) {
        let Some((nats, _)) = open.link.take() else {
            return;
        };
        open.connects += connects(&nats);
        // What the server refused on this one.
        self.unheard.remove(&Link::inboxes(&nats), self.number);
        self.trouble.tell(|| {
            format!(
                "the connection for {} ended and is replaced: the stream holds a message that no client can read (nats-io/nats.rs#1612)",
                self.purpose
            )
        });
    }
}

fn connects(nats: &Nats) -> u64 {
    nats.statistics().connects.load(Relaxed)
}
