//! The limit of connections, shared so that no address shuts others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Permits for connections. If none is free, the address with the most permits loses its oldest one:
/// an address that takes all makes room for others, and for itself.
pub(super) struct Permits {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// The oldest first.
    permits: Vec<Taken>,
    next: u64,
}

struct Taken {
    number: u64,
    address: IpAddr,
    given_up: CancellationToken,
}

/// A connection's permit, until this is dropped.
pub(super) struct Permit {
    permits: Arc<Permits>,
    number: u64,
    given_up: CancellationToken,
}

impl Permits {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
        })
    }

    /// Takes a permit for a connection from this address.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Permit {
        let given_up = CancellationToken::new();
        let mut held = self.held.lock();
        let number = held.next;
        held.next += 1;
        held.permits.push(Taken {
            number,
            address: holder(address),
            given_up: given_up.clone(),
        });
        if held.permits.len() > self.most {
            held.give_up();
        }
        Permit {
            permits: self.clone(),
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
    /// Takes back the oldest permit of the addresses with the most permits.
    fn give_up(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for taken in &self.permits {
            *counts.entry(taken.address).or_default() += 1;
        }
        let most = counts.values().max();
        let has_most = |taken: &Taken| counts.get(&taken.address) == most;
        if let Some(at) = self.permits.iter().position(has_most) {
            self.permits.remove(at).given_up.cancel();
        }
    }
}

impl Permit {
    /// Waits until the permit is taken back.
    pub(super) fn lost(&self) -> WaitForCancellationFuture<'_> {
        self.given_up.cancelled()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.permits.held.lock();
        let found = held
            .permits
            .binary_search_by_key(&self.number, |it| it.number);
        if let Ok(at) = found {
            held.permits.remove(at);
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

    fn take(permits: &Arc<Permits>, address: &str, n: usize) -> Vec<Permit> {
        let address = address.parse().unwrap();
        (0..n).map(|_| permits.take(address)).collect()
    }

    fn kept(taken: &[Permit]) -> Vec<usize> {
        let kept = taken.iter().enumerate();
        kept.filter(|(_, permit)| !permit.given_up.is_cancelled())
            .map(|(at, _)| at)
            .collect()
    }

    #[test]
    fn address_with_most_permits_loses_its_oldest() {
        let permits = Permits::new(4);
        let greedy = take(&permits, "10.0.0.1", 6);
        assert_eq!(kept(&greedy), [2, 3, 4, 5]);

        let other = take(&permits, "10.0.0.2", 2);
        assert_eq!((kept(&greedy), kept(&other)), (vec![4, 5], vec![0, 1]));

        let third = take(&permits, "10.0.0.3", 1);
        assert_eq!(kept(&greedy), [5], "the oldest of those that have as many");
        drop(other);
        let more = take(&permits, "10.0.0.1", 2);
        assert_eq!((kept(&greedy), kept(&more)), (vec![5], vec![0, 1]));
        assert_eq!(kept(&third), [0]);
    }

    #[test]
    fn ipv6_addresses_of_one_network_count_as_one() {
        let permits = Permits::new(2);
        let greedy = take(&permits, "2001:db8::1", 1);
        let again = take(&permits, "2001:db8::2", 1);
        let other = take(&permits, "2001:db8:0:1::1", 1);
        assert_eq!((kept(&greedy).len(), kept(&again).len()), (0, 1));
        assert_eq!(kept(&other).len(), 1);
        let same = ["::ffff:10.0.0.1", "10.0.0.1"].map(|address| holder(address.parse().unwrap()));
        assert_eq!(same[0], same[1]);
    }
}
