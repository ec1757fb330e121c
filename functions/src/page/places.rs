//! The limit of connections, shared so that no address shuts others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Places for connections. If none is free, the address with the most places loses its oldest one:
/// an address that takes all makes room for others, and for itself.
pub(super) struct Places {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// The oldest first.
    places: Vec<Taken>,
    next: u64,
}

struct Taken {
    number: u64,
    address: IpAddr,
    given_up: CancellationToken,
}

/// A connection's place, until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    given_up: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
        })
    }

    /// Takes a place for a connection from this address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let given_up = CancellationToken::new();
        let mut held = self.held.lock();
        let number = held.next;
        held.next += 1;
        held.places.push(Taken {
            number,
            address: holder(address),
            given_up: given_up.clone(),
        });
        if held.places.len() > self.most {
            held.give_up();
        }
        Place {
            places: self.clone(),
            number,
            given_up,
        }
    }

    /// Ends a connection because the system has no room for another.
    pub(super) fn make_room(&self) {
        self.held.lock().give_up();
    }
}

impl Held {
    /// Takes back the oldest place of the addresses with the most places.
    fn give_up(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for taken in &self.places {
            *counts.entry(taken.address).or_default() += 1;
        }
        let most = counts.values().max();
        let has_most = |taken: &Taken| counts.get(&taken.address) == most;
        if let Some(at) = self.places.iter().position(has_most) {
            self.places.remove(at).given_up.cancel();
        }
    }
}

impl Place {
    /// Waits until the place is taken back.
    pub(super) fn lost(&self) -> WaitForCancellationFuture<'_> {
        self.given_up.cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock();
        let found = held
            .places
            .binary_search_by_key(&self.number, |it| it.number);
        if let Ok(at) = found {
            held.places.remove(at);
        }
    }
}

/// Whom an address counts for: with IPv6 one subscriber has a whole /64 network.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, address: &str, n: usize) -> Vec<Place> {
        let address = address.parse().unwrap();
        (0..n).map(|_| places.take(address)).collect()
    }

    fn kept(taken: &[Place]) -> Vec<usize> {
        let kept = taken.iter().enumerate();
        kept.filter(|(_, place)| !place.given_up.is_cancelled())
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn address_with_most_places_loses_its_oldest() {
        let places = Places::new(4);
        let greedy = take(&places, "10.0.0.1", 6);
        assert_eq!(kept(&greedy), [2, 3, 4, 5]);

        let other = take(&places, "10.0.0.2", 2);
        assert_eq!((kept(&greedy), kept(&other)), (vec![4, 5], vec![0, 1]));

        let third = take(&places, "10.0.0.3", 1);
        assert_eq!(kept(&greedy), [5], "the oldest of those that have as many");
        drop(other);
        let more = take(&places, "10.0.0.1", 2);
        assert_eq!((kept(&greedy), kept(&more)), (vec![5], vec![0, 1]));
        assert_eq!(kept(&third), [0]);
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one() {
        let places = Places::new(2);
        let greedy = take(&places, "2001:db8::1", 1);
        let again = take(&places, "2001:db8::2", 1);
        let other = take(&places, "2001:db8:0:1::1", 1);
        assert_eq!((kept(&greedy).len(), kept(&again).len()), (0, 1));
        assert_eq!(kept(&other).len(), 1);
        let same = ["::ffff:10.0.0.1", "10.0.0.1"].map(|address| holder(address.parse().unwrap()));
        assert_eq!(same[0], same[1]);
    }
}
