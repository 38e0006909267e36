//! Lookup tables of the hashing schedulers (sh, dh, mh), computed as the kernel does.
//!
//! The hashes have no secret key: the same servers in the same order give the same result on every director. Sources:
//! [ip_vs_sh.c], [ip_vs_dh.c] and [ip_vs_mh.c]. Their behaviour is the same from Linux 6.1 to 7.3 on 64-bit
//! little-endian machines.
//!
//! [ip_vs_sh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c
//! [ip_vs_dh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_dh.c
//! [ip_vs_mh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_mh.c

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::destination::Destination;
use crate::family::Family;
use crate::key::DestinationKey;
use crate::name::Scheduler;
use crate::service::{SchedulerFlags, Service};

/// Sizes of the hash tables. They are build options of the kernel, which does not report them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSizes {
    /// The value of `CONFIG_IP_VS_SH_TAB_BITS`, 4 to 20; 8 by default. The table of sh has 2^`sh_bits` slots.
    pub sh_bits: u8,
    /// The value of `CONFIG_IP_VS_MH_TAB_INDEX`, 8 to 17; 12 by default. The number of slots of mh is the largest prime
    /// below 2^`mh_index`.
    pub mh_index: u8,
}

impl Default for TableSizes {
    fn default() -> Self {
        Self { sh_bits: 8, mh_index: 12 }
    }
}

/// The value of `CONFIG_IP_VS_DH_TAB_BITS`. It is not an option of Kconfig, so it is always the default.
const DH_BITS: u8 = 8;
const MH_PRIMES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071];
const GOLDEN_RATIO: u32 = 0x61C8_8647;
const MH_KEY_1: u64 = 2_654_435_761;
const MH_KEY_2: u64 = 2_654_446_892;

/// The table in which a hashing scheduler looks up the server of a client.
///
/// ```
/// use ipvs::hash::{LookupTable, TableSizes};
/// use ipvs::{Destination, Forwarding, Scheduler, Service, ServiceKey};
/// use std::net::Ipv4Addr;
///
/// let service = Service::new(ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 80), Scheduler::SH);
/// let server = |last| Destination::new((Ipv4Addr::new(10, 0, 0, last), 80), Forwarding::Masquerade);
/// let (one, two) = (server(1), server(2));
///
/// let table = LookupTable::new(&service, &[one, two], TableSizes::default()).unwrap();
/// let client = Ipv4Addr::new(203, 0, 113, 9).into();
/// assert!(table.pick(client, 5555).is_some());
/// // The order matters: with the same servers in reverse order, every client gets the other one.
/// let reversed = LookupTable::new(&service, &[two, one], TableSizes::default()).unwrap();
/// assert_eq!(table.share_moved(&reversed), 1.0);
/// ```
#[derive(Clone, Debug)]
pub struct LookupTable {
    kind: Kind,
    family: Family,
    /// The index of the server of each slot. `None`: the slot is empty.
    slots: Vec<Option<u32>>,
    servers: Vec<Server>,
    fallback: bool,
    with_port: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sh,
    Dh,
    Mh,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    key: DestinationKey,
    is_available: bool,
}

impl LookupTable {
    /// Returns the table that the kernel builds for a service with these servers, the oldest first. Returns `None` if
    /// the scheduler does not hash.
    ///
    /// The kernel does not report all inputs. This function assumes that no server is above its threshold, and that a
    /// server with weight 0 had weight 1 before. If you know the last weights, use [`LookupTable::with_last_weights`].
    pub fn new(service: &Service, oldest_first: &[Destination], sizes: TableSizes) -> Option<Self> {
        let servers: Vec<_> = oldest_first.iter().map(|server| (*server, server.weight.max(1))).collect();
        Self::with_last_weights(service, &servers, sizes)
    }

    /// Works like [`LookupTable::new`], with the last weight of each server. This is the last weight other than 0 since
    /// the server was added, or 0.
    ///
    /// mh keeps the slots of a server when its weight is set to 0. A server that was added with weight 0 has no slots.
    /// The kernel calls this weight `last_weight` and does not report it.
    pub fn with_last_weights(
        service: &Service,
        oldest_first: &[(Destination, u32)],
        sizes: TableSizes,
    ) -> Option<Self> {
        let kind = match service.scheduler {
            Scheduler::SH => Kind::Sh,
            Scheduler::DH => Kind::Dh,
            Scheduler::MH => Kind::Mh,
            _ => return None,
        };
        let family = service.key.family();
        // The kernel's list starts with the newest.
        let (list, last_weights): (Vec<&Destination>, Vec<u32>) =
            oldest_first.iter().rev().map(|(server, last_weight)| (server, *last_weight)).unzip();
        let slots = match kind {
            Kind::Sh => sh_slots(&list, 1 << sizes.sh_bits.clamp(4, 20)),
            Kind::Dh => dh_slots(&list, 1 << DH_BITS),
            Kind::Mh => mh_slots(&list, &last_weights, family, sizes.mh_index.clamp(8, 17)),
        };
        let servers = list.iter().map(|server| Server { key: server.key, is_available: server.weight > 0 }).collect();
        Some(Self {
            kind,
            family,
            slots,
            servers,
            fallback: kind != Kind::Dh && service.flags.contains(SchedulerFlags::FALLBACK),
            with_port: kind != Kind::Dh && service.flags.contains(SchedulerFlags::PORT),
        })
    }

    /// Returns the server of a new connection from this address (dh: to this address) and port. Returns `None` if the
    /// connection is refused.
    ///
    /// The port is used only with [`SchedulerFlags::PORT`]. Persistence is not considered: a client with a template is
    /// sent to the server of the template.
    pub fn pick(&self, address: IpAddr, port: u16) -> Option<DestinationKey> {
        let port = if self.with_port { port } else { 0 };
        self.pick_value(fold(address, self.family).wrapping_add(port.into()))
    }

    /// Returns the share of clients, 0 to 1, for which the two tables select different servers, or only one table
    /// selects a server. It assumes that the clients' addresses are evenly distributed.
    pub fn share_moved(&self, other: &Self) -> f64 {
        // The fallback of mh depends on the client's hash, not only on its slot (ip_vs_mh_get_fallback).
        let by_value = [self, other].iter().any(|table| table.kind == Kind::Mh && table.fallback);
        if by_value || self.kind != other.kind || self.slots.len() != other.slots.len() {
            const SAMPLES: u32 = 1 << 14;
            // A multiple of an odd number: the samples are spread over all values.
            let values = (0..SAMPLES).map(|i| i.wrapping_mul(GOLDEN_RATIO));
            let moved = values.filter(|value| self.pick_value(*value) != other.pick_value(*value)).count();
            return moved as f64 / f64::from(SAMPLES);
        }
        if self.slots.is_empty() {
            return 0.0;
        }
        let slots = 0..self.slots.len();
        let moved = slots.filter(|slot| self.pick_slot(*slot) != other.pick_slot(*slot)).count();
        moved as f64 / self.slots.len() as f64
    }

    fn pick_value(&self, value: u32) -> Option<DestinationKey> {
        if self.slots.is_empty() {
            return None;
        }
        let slots = self.slots.len();
        let slot = match self.kind {
            Kind::Mh => mh_hash(value, MH_KEY_1) as usize % slots,
            Kind::Sh | Kind::Dh => value.wrapping_mul(GOLDEN_RATIO) as usize >> (32 - slots.trailing_zeros()),
        };
        if self.kind != Kind::Mh || !self.fallback || self.is_served(slot) {
            return self.pick_slot(slot);
        }
        // ip_vs_mh_get_fallback: each attempt uses another hash, and an empty slot ends the search.
        for offset in 0..slots {
            let shift = (slot + offset) % slots;
            let next = mh_hash(value.wrapping_add(shift as u32), MH_KEY_1) as usize % slots;
            match self.slots[next] {
                None => return None,
                Some(_) if self.is_served(next) => return self.pick_slot(next),
                Some(_) => {}
            }
        }
        None
    }

    fn is_served(&self, slot: usize) -> bool {
        self.slots[slot].is_none_or(|server| self.servers[server as usize].is_available)
    }

    fn pick_slot(&self, slot: usize) -> Option<DestinationKey> {
        let server = self.servers[self.slots[slot]? as usize];
        if server.is_available {
            return Some(server.key);
        }
        if self.kind != Kind::Sh || !self.fallback {
            return None;
        }
        let slots = self.slots.len();
        // ip_vs_sh_get_fallback adds the slot a second time: the search begins at twice the slot.
        let probes = (0..slots).map(|offset| (slot + (slot + offset) % slots) % slots);
        let mut found = probes.map_while(|probe| self.slots[probe]).map(|server| self.servers[server as usize]);
        found.find(|server| server.is_available).map(|server| server.key)
    }
}

/// Returns an address as one number: an IPv4 address itself, or the exclusive or of the four words of an IPv6 address.
/// The family is the service's, also for a server of the other family.
fn fold(address: IpAddr, family: Family) -> u32 {
    let bytes = match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    };
    let words = u128::from_be_bytes(bytes);
    let word = |n: u32| (words >> (96 - 32 * n)) as u32;
    match family {
        Family::V4 => word(0),
        Family::V6 => word(0) ^ word(1) ^ word(2) ^ word(3),
    }
}

fn mh_hash(value: u32, key: u64) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&value.to_le_bytes());
    hasher.finish() as u32
}

/// Returns the slots of sh: the servers in turn, each as many times as its weight, but at least once.
fn sh_slots(list: &[&Destination], size: usize) -> Vec<Option<u32>> {
    if list.is_empty() {
        return vec![None; size];
    }
    let turn =
        list.iter().enumerate().flat_map(|(i, server)| std::iter::repeat_n(i as u32, server.weight.max(1) as usize));
    turn.cycle().take(size).map(Some).collect()
}

/// Returns the slots of dh: the servers in turn, each once.
fn dh_slots(list: &[&Destination], size: usize) -> Vec<Option<u32>> {
    (0..size).map(|slot| slot.checked_rem(list.len()).map(|server| server as u32)).collect()
}

/// Returns the slots of mh (Maglev). Each server visits the slots in an order of its own. In each turn, it occupies as
/// many free slots as its weight. See `ip_vs_mh_permutate` and `ip_vs_mh_populate`.
fn mh_slots(list: &[&Destination], weights: &[u32], family: Family, index: u8) -> Vec<Option<u32>> {
    let size = MH_PRIMES[usize::from(index) - 8];
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    // If all weights are 0 there is no table. With more servers than slots the kernel keeps its previous table, which
    // is unknown here.
    if divisor == 0 || list.len() > size as usize {
        return vec![None; size as usize];
    }
    let greatest = weights.iter().max().copied().unwrap_or(1) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(u32::from(index) / 2);
    let mut walks: Vec<Walk> = list
        .iter()
        .zip(weights)
        .map(|(server, weight)| {
            let value = fold(server.key.address, family).wrapping_add(server.key.port.into());
            Walk {
                at: mh_hash(value, MH_KEY_1) % size,
                step: mh_hash(value, MH_KEY_2) % (size - 1) + 1,
                turns: ((weight / divisor) >> shift).max(u32::from(*weight > 0)),
            }
        })
        .collect();
    let mut slots = vec![None; size as usize];
    let mut free = size;
    while free > 0 {
        for (server, walk) in walks.iter_mut().enumerate() {
            for _ in 0..walk.turns.min(free) {
                while slots[walk.at as usize].is_some() {
                    walk.at = (walk.at + walk.step) % size;
                }
                slots[walk.at as usize] = Some(server as u32);
                walk.at = (walk.at + walk.step) % size;
                free -= 1;
            }
        }
    }
    slots
}

struct Walk {
    at: u32,
    step: u32,
    turns: u32,
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Forwarding;
    use crate::key::ServiceKey;

    fn service(scheduler: Scheduler) -> Service {
        Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), scheduler)
    }

    fn servers(weights: &[u32]) -> Vec<Destination> {
        let server = |(i, weight): (usize, &u32)| Destination {
            weight: *weight,
            ..Destination::new(([10, 0, 0, i as u8 + 1], 80), Forwarding::Masquerade)
        };
        weights.iter().enumerate().map(server).collect()
    }

    fn table(scheduler: Scheduler, servers: &[Destination]) -> LookupTable {
        LookupTable::new(&service(scheduler), servers, TableSizes::default()).expect("it hashes")
    }

    fn counts(table: &LookupTable, servers: &[Destination]) -> Vec<usize> {
        let number =
            |server: &Destination| table.servers.iter().position(|other| other.key == server.key).map(|n| n as u32);
        servers.iter().map(|server| table.slots.iter().filter(|slot| **slot == number(server)).count()).collect()
    }

    #[test]
    fn hashes_match_the_kernel() {
        let four: IpAddr = [192, 168, 1, 10].into();
        let six: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(fold(six, Family::V6), 0x2001_0DB9);
        let sh = |value: u32| value.wrapping_mul(GOLDEN_RATIO) >> 24;
        assert_eq!((sh(fold(four, Family::V4)), sh(fold(six, Family::V6))), (248, 63));
        assert_eq!(mh_hash(fold(four, Family::V4), MH_KEY_1), 0xD5E9_59B6);
        assert_eq!(mh_hash(fold(four, Family::V4), MH_KEY_2), 0xDDEF_2D2D);
        assert_eq!(mh_hash(fold(four, Family::V4), MH_KEY_1) % 4093, 3323);
        assert_eq!(mh_hash(fold(six, Family::V6), MH_KEY_1) % 4093, 3457);
    }

    #[test]
    fn sh_has_slots_by_weight() {
        for (weights, slots) in [
            (&[10, 20, 30, 40][..], &[20, 40, 76, 120][..]),
            (&[100; 5], &[0, 0, 56, 100, 100]),
            (&[64; 5], &[0, 64, 64, 64, 64]),
            (&[1, 300], &[0, 256]),
        ] {
            let servers = servers(weights);
            assert_eq!(counts(&table(Scheduler::SH, &servers), &servers), slots);
        }
    }

    /// Compares with shares that were computed from the kernel's tables.
    #[test]
    fn share_of_clients_that_move() {
        let percent = |scheduler, before: &[Destination], after: &[Destination]| {
            (table(scheduler, before).share_moved(&table(scheduler, after)) * 1000.0).round() / 10.0
        };
        let four = servers(&[1; 4]);
        let five = servers(&[1; 5]);
        let reversed: Vec<_> = four.iter().rev().copied().collect();
        for (scheduler, add, remove_newest, remove_oldest, reverse) in [
            (Scheduler::SH, 81.2, 75.4, 74.2, 100.0),
            (Scheduler::DH, 81.2, 75.4, 74.2, 100.0),
            (Scheduler::MH, 20.4, 25.3, 25.2, 0.2),
        ] {
            let close =
                |found: f64, expected: f64| assert!((found - expected).abs() <= 1.1, "{scheduler} {found} {expected}");
            close(percent(scheduler, &four, &five), add);
            close(percent(scheduler, &four, &four[..3]), remove_newest);
            close(percent(scheduler, &four, &four[1..]), remove_oldest);
            close(percent(scheduler, &four, &reversed), reverse);
        }
    }

    #[test]
    fn clients_of_a_drained_server_are_refused_or_moved() {
        let weights = [1, 0, 1];
        for scheduler in [Scheduler::SH, Scheduler::MH] {
            let plain = table(scheduler, &servers(&weights));
            let clients = || (0..200u8).map(|n| IpAddr::from([203, 0, 113, n]));
            assert!(clients().any(|client| plain.pick(client, 0).is_none()));
            let falling = Service { flags: SchedulerFlags::FALLBACK, ..service(scheduler) };
            let falling = LookupTable::new(&falling, &servers(&weights), TableSizes::default()).expect("it hashes");
            assert!(clients().all(|client| falling.pick(client, 0).is_some()));
        }
    }

    #[test]
    fn mh_has_no_slots_for_a_server_added_with_weight_0() {
        let servers = servers(&[1, 0, 1]);
        let with = |last_weight| {
            let servers: Vec<_> =
                servers.iter().zip([1, last_weight, 1]).map(|(server, last)| (*server, last)).collect();
            let table = LookupTable::with_last_weights(&service(Scheduler::MH), &servers, TableSizes::default());
            counts(&table.expect("it hashes"), &self::servers(&[1, 0, 1]))
        };
        assert_eq!((with(0)[1], with(1)[1]), (0, 1364));
        let none = [(servers[1], 0)];
        let table =
            LookupTable::with_last_weights(&service(Scheduler::MH), &none, TableSizes::default()).expect("it hashes");
        assert_eq!(table.pick([203, 0, 113, 9].into(), 0), None);
    }

    #[test]
    fn only_hashing_schedulers_have_tables() {
        assert!(LookupTable::new(&service(Scheduler::RR), &servers(&[1]), TableSizes::default()).is_none());
        assert_eq!(table(Scheduler::MH, &[]).pick([203, 0, 113, 9].into(), 0), None);
    }
}
