//! The limit of open connections.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};

use tokio::task::{AbortHandle, JoinHandle};

/// Connections that are open at once. Prometheus needs one for each scrape.
const MAX: usize = 64;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// An address. Of an IPv6 address, only the first 64 bits: a host can have all the others.
    Address(IpAddr),
    /// The user ID of a process on this machine. `None`: it is unknown.
    User(Option<u32>),
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

/// The tasks of open connections and their peers, the oldest first.
#[derive(Default)]
pub(super) struct Connections(VecDeque<(Peer, AbortHandle)>);

impl Connections {
    /// Serves a connection in a task of its own. If there are too many, closes the oldest one of the peer that has the
    /// most, because a scrape is short. So clients that open many connections cannot lock others out.
    pub(super) fn start(&mut self, peer: Peer, serve: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() >= MAX
            && let Some((_, task)) = self.0.remove(self.most_expendable())
        {
            task.abort();
        }
        let task = tokio::spawn(serve);
        self.0.push_back((peer, task.abort_handle()));
        task
    }

    /// Returns the place of the oldest connection of the peer that has the most.
    fn most_expendable(&self) -> usize {
        let number = |peer: &Peer| self.0.iter().filter(|(other, _)| other == peer).count();
        // The last of several equal ones is returned, and the first is the oldest.
        let oldest_last = self.0.iter().enumerate().rev();
        oldest_last.max_by_key(|(_, (peer, _))| number(peer)).map_or(0, |(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Opens connections that never end.
    fn open(connections: &mut Connections, peer: Peer, number: usize) -> Vec<JoinHandle<()>> {
        (0..number).map(|_| connections.start(peer, pending())).collect()
    }

    fn with_runtime(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test);
    }

    /// Returns whether the task was ended. Waits until it has.
    async fn is_closed(task: &mut JoinHandle<()>) -> bool {
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, task).await.is_ok_and(|end| end.is_err_and(|error| error.is_cancelled()))
    }

    #[test]
    fn the_oldest_connection_is_closed() {
        with_runtime(async {
            let peer = Peer::User(None);
            let mut connections = Connections::default();
            assert!(connections.start(peer, async {}).await.is_ok());
            let mut waiting = open(&mut connections, peer, MAX);
            assert_eq!(connections.0.len(), MAX, "the first one has ended");
            waiting.extend(open(&mut connections, peer, 1));
            let (oldest, others) = waiting.split_first_mut().expect("a task");
            assert!(is_closed(oldest).await && others.iter().all(|task| !task.is_finished()));
        });
    }

    #[test]
    fn a_peer_with_many_connections_closes_only_its_own() {
        with_runtime(async {
            let [scraper, flooder] =
                ["192.0.2.1", "192.0.2.2"].map(|text| Peer::from(text.parse::<IpAddr>().expect(text)));
            let mut connections = Connections::default();
            let mut scrapes = open(&mut connections, scraper, 2);
            let mut flood = open(&mut connections, flooder, 10 * MAX);
            scrapes.extend(open(&mut connections, scraper, 1));
            let (closed, open) = flood.split_at_mut(9 * MAX + scrapes.len());
            for task in closed {
                assert!(is_closed(task).await);
            }
            assert!(scrapes.iter().chain(open.iter()).all(|task| !task.is_finished()));
        });
    }

    #[test]
    fn peers_are_hosts() {
        let peer = |text: &str| Peer::from(text.parse::<IpAddr>().expect(text));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::2:3:4:5"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("::ffff:192.0.2.1"), peer("192.0.2.2"));
    }
}
