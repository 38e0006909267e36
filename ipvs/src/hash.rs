//! Lookup tables of the hashing schedulers (sh, dh, mh), computed as the kernel does.
//!
//! The hashes have no secret key: the same servers in the same order give the same result on every director. Sources:
//! [ip_vs_sh.c], [ip_vs_dh.c] and [ip_vs_mh.c]. Their behaviour is the same from Linux 6.1 to 7.3 on 64-bit
//! little-endian machines.
//!
//! [ip_vs_sh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sh.c
//! [ip_vs_dh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_dh.c
//! [ip_vs_mh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_mh.c

mod run;

use std::collections::HashMap;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::destination::Destination;
use crate::family::Family;
use crate::key::DestinationKey;
use crate::name::Scheduler;
use crate::service::{SchedulerFlags, Service};

pub(crate) use run::Run;

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
/// assert_ne!(table.pick(client, 5555), reversed.pick(client, 5555));
/// ```
#[derive(Clone, Debug)]
pub struct LookupTable {
    kind: Kind,
    family: Family,
    /// The index of the server of each slot. `None`: the slot is empty.
    slots: Vec<Option<u32>>,
    servers: Vec<Server>,
    fallback: Fallback,
    with_port: bool,
}

/// The search for another server if that of a slot has weight 0 or is full.
#[derive(Clone, Debug)]
enum Fallback {
    /// No search. The flag is not set, no slot has an unavailable server, or no slot has an available one.
    Nowhere,
    /// The search of sh. Each slot has the server of the first available slot from there on.
    NextSlot(Vec<Option<u32>>),
    /// The search of mh, which uses another hash for each attempt.
    Rehash,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sh,
    Dh,
    Mh,
}

impl Kind {
    fn of(scheduler: Scheduler) -> Option<Self> {
        match scheduler {
            Scheduler::SH => Some(Self::Sh),
            Scheduler::DH => Some(Self::Dh),
            Scheduler::MH => Some(Self::Mh),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Server {
    key: DestinationKey,
    is_available: bool,
}

/// A server, as the kernel uses it for a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) destination: Destination,
    /// The last weight other than 0 since the server was added, or 0.
    pub(crate) last_weight: u32,
    /// Whether the weight is above 0 and the server is not full.
    pub(crate) is_available: bool,
}

/// Returns whether a table of mh has room for this number of servers. With more servers than slots, the kernel keeps the
/// previous table, which is unknown. See `ip_vs_mh_reassign` in [ip_vs_mh.c].
///
/// [ip_vs_mh.c]: https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_mh.c
pub(crate) fn has_room(service: &Service, servers: usize, sizes: TableSizes) -> bool {
    service.scheduler != Scheduler::MH || servers <= MH_PRIMES[usize::from(sizes.mh_index.clamp(8, 17)) - 8] as usize
}

impl LookupTable {
    /// Returns whether a service has a table, because its scheduler hashes. [`LookupTable::new`] returns one only then.
    pub fn exists_for(service: &Service) -> bool {
        Kind::of(service.scheduler).is_some()
    }

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
        let input = |(server, last_weight): &(Destination, u32)| Input {
            destination: *server,
            last_weight: *last_weight,
            is_available: server.weight > 0,
        };
        Self::from_inputs(service, &oldest_first.iter().map(input).collect::<Vec<_>>(), sizes)
    }

    /// Works like [`LookupTable::with_last_weights`], with all inputs of the kernel.
    pub(crate) fn from_inputs(service: &Service, oldest_first: &[Input], sizes: TableSizes) -> Option<Self> {
        let kind = Kind::of(service.scheduler)?;
        let family = service.key.family();
        // The kernel's list starts with the newest.
        let (list, last_weights): (Vec<&Destination>, Vec<u32>) =
            oldest_first.iter().rev().map(|input| (&input.destination, input.last_weight)).unzip();
        let slots = match kind {
            Kind::Sh => sh_slots(&list, 1 << sizes.sh_bits.clamp(4, 20)),
            Kind::Dh => dh_slots(&list, 1 << DH_BITS),
            Kind::Mh => mh_slots(&list, &last_weights, family, sizes.mh_index.clamp(8, 17)),
        };
        let server = |input: &Input| Server { key: input.destination.key, is_available: input.is_available };
        let servers: Vec<_> = oldest_first.iter().rev().map(server).collect();
        let is_available = |server: &u32| servers[*server as usize].is_available;
        let in_use = || slots.iter().flatten();
        let is_useful = service.flags.contains(SchedulerFlags::FALLBACK)
            && kind != Kind::Dh
            && servers.iter().any(|server| !server.is_available)
            && in_use().any(is_available)
            && !in_use().all(is_available);
        let fallback = match kind {
            Kind::Sh if is_useful => Fallback::NextSlot(next_available(&slots, is_available)),
            Kind::Mh if is_useful => Fallback::Rehash,
            _ => Fallback::Nowhere,
        };
        let with_port = kind != Kind::Dh && service.flags.contains(SchedulerFlags::PORT);
        Some(Self { kind, family, slots, servers, fallback, with_port })
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

    /// Returns the server of the slot of this address (dh: destination address) and port, available or not. Returns
    /// `None` if the slot is empty.
    ///
    /// If this server has weight 0 or is full, [`pick`](Self::pick) returns another one or `None`.
    pub fn owner(&self, address: IpAddr, port: u16) -> Option<DestinationKey> {
        let port = if self.with_port { port } else { 0 };
        let value = fold(address, self.family).wrapping_add(port.into());
        let slot = self.slot(value, || mh_hash(value, MH_KEY_1))?;
        Some(self.servers[self.slots[slot]? as usize].key)
    }

    /// Returns whether the other table has the same server for every client. It compares slots and available servers,
    /// so tables that differ in nothing that a client sees can count as different.
    pub fn maps_like(&self, other: &Self) -> bool {
        let slot = |table: &Self, at: usize| {
            table.slots[at].map(|server| table.servers[server as usize]).map(|server| (server.key, server.is_available))
        };
        let kind = |table: &Self| match table.fallback {
            Fallback::Nowhere => 0,
            Fallback::NextSlot(_) => 1,
            Fallback::Rehash => 2,
        };
        self.has_slots_of(other)
            && (self.family, self.with_port, kind(self)) == (other.family, other.with_port, kind(other))
            && (0..self.slots.len()).all(|at| slot(self, at) == slot(other, at))
    }

    fn pick_value(&self, value: u32) -> Option<DestinationKey> {
        let slot = self.slot(value, || mh_hash(value, MH_KEY_1))?;
        let Fallback::Rehash = self.fallback else { return self.pick_slot(slot) };
        if self.is_served(slot) {
            return self.pick_slot(slot);
        }
        let slots = self.slots.len();
        // ip_vs_mh_get_fallback: each attempt uses another hash, and an empty slot ends the search.
        let mut probes = (0..slots).map(|offset| {
            let shift = (slot + offset) % slots;
            mh_hash(value.wrapping_add(shift as u32), MH_KEY_1) as usize % slots
        });
        probes.find(|probe| self.is_served(*probe)).and_then(|probe| self.pick_slot(probe))
    }

    /// Returns the slot of a value, or `None` if the table is empty. `mh_hash` returns the first hash of mh.
    fn slot(&self, value: u32, mh_hash: impl FnOnce() -> u32) -> Option<usize> {
        let slots = self.slots.len();
        if slots == 0 {
            return None;
        }
        Some(match self.kind {
            Kind::Mh => mh_hash() as usize % slots,
            Kind::Sh | Kind::Dh => value.wrapping_mul(GOLDEN_RATIO) as usize >> (32 - slots.trailing_zeros()),
        })
    }

    /// Returns whether the server of a slot is available, or the slot is empty.
    fn is_served(&self, slot: usize) -> bool {
        self.slots[slot].is_none_or(|server| self.servers[server as usize].is_available)
    }

    fn pick_slot(&self, slot: usize) -> Option<DestinationKey> {
        let server = self.servers[self.slots[slot]? as usize];
        if server.is_available {
            return Some(server.key);
        }
        let Fallback::NextSlot(next) = &self.fallback else { return None };
        // ip_vs_sh_get_fallback adds the slot a second time: the search begins at twice the slot.
        next[slot * 2 % self.slots.len()].map(|server| self.servers[server as usize].key)
    }
}

/// Returns for each slot the server of the first available slot from there on. After the last slot follows the first.
fn next_available(slots: &[Option<u32>], is_available: impl Fn(&u32) -> bool) -> Vec<Option<u32>> {
    let mut next = slots.iter().copied().flatten().find(&is_available);
    let mut all: Vec<_> = slots
        .iter()
        .rev()
        .map(|slot| {
            next = slot.filter(&is_available).or(next);
            next
        })
        .collect();
    all.reverse();
    all
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
/// many free slots as its weight.
fn mh_slots(list: &[&Destination], weights: &[u32], family: Family, index: u8) -> Vec<Option<u32>> {
    let size = MH_PRIMES[usize::from(index) - 8];
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    // If all weights are 0 there is no table. With more servers than slots the kernel keeps its previous table, which
    // is unknown here.
    if divisor == 0 || list.len() > size as usize {
        return vec![None; size as usize];
    }
    let (walks, turns) = mh_turns(list, weights, divisor, family, index);
    mh_populate(walks, &turns, size)
}

/// Returns the ways of the servers, and their turns. See `ip_vs_mh_permutate` and `ip_vs_mh_shift_weight`.
fn mh_turns(list: &[&Destination], weights: &[u32], divisor: u32, family: Family, index: u8) -> (Vec<Walk>, Vec<Turn>) {
    let size = MH_PRIMES[usize::from(index) - 8];
    let greatest = weights.iter().max().copied().unwrap_or(1) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(u32::from(index) / 2);
    // Servers whose addresses fold to the same value walk the same way. A slot that one of them has found occupied is
    // occupied for all, so they share their position.
    let mut walks: Vec<Walk> = Vec::new();
    let mut by_value = HashMap::new();
    let mut turns: Vec<Turn> = Vec::new();
    // A server without turns is not in the loop of `mh_populate`, which can have as many rounds as there are slots.
    for (server, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        let key = list[server].key;
        let value = fold(key.address, family).wrapping_add(key.port.into());
        let walk = *by_value.entry(value).or_insert_with(|| {
            walks.push(Walk { at: mh_hash(value, MH_KEY_1) % size, step: mh_hash(value, MH_KEY_2) % (size - 1) + 1 });
            walks.len() - 1
        });
        turns.push(Turn { server: server as u32, walk, slots: ((weight / divisor) >> shift).max(1) });
    }
    (walks, turns)
}

/// Returns the slots after all turns. See `ip_vs_mh_populate`.
fn mh_populate(mut walks: Vec<Walk>, turns: &[Turn], size: u32) -> Vec<Option<u32>> {
    let mut slots = vec![None; size as usize];
    let mut free = size;
    while free > 0 {
        for turn in turns {
            let walk = &mut walks[turn.walk];
            for _ in 0..turn.slots.min(free) {
                while slots[walk.at as usize].is_some() {
                    walk.at = (walk.at + walk.step) % size;
                }
                slots[walk.at as usize] = Some(turn.server);
                walk.at = (walk.at + walk.step) % size;
                free -= 1;
            }
        }
    }
    slots
}

/// The position of a server on its way through all slots.
struct Walk {
    at: u32,
    step: u32,
}

/// The number of slots that a server occupies in each round.
struct Turn {
    server: u32,
    /// The index of the server's [`Walk`].
    walk: usize,
    slots: u32,
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
        assert!(!LookupTable::exists_for(&service(Scheduler::RR)) && LookupTable::exists_for(&service(Scheduler::DH)));
        assert_eq!(table(Scheduler::MH, &[]).pick([203, 0, 113, 9].into(), 0), None);
    }

    /// Picks a server as the kernel does, attempt by attempt (`ip_vs_sh_get_fallback`, `ip_vs_mh_get_fallback`).
    fn pick_step_by_step(table: &LookupTable, value: u32, fallback: bool) -> Option<DestinationKey> {
        let slots = table.slots.len();
        let slot = table.slot(value, || mh_hash(value, MH_KEY_1))?;
        let server = |slot: usize| table.slots[slot].map(|server| table.servers[server as usize]);
        let attempts =
            (0..slots).filter(|_| fallback).map(|offset| (slot + offset) % slots).map(|shift| match table.kind {
                Kind::Mh => mh_hash(value.wrapping_add(shift as u32), MH_KEY_1) as usize % slots,
                _ => (slot + shift) % slots,
            });
        let found = std::iter::once(slot).chain(attempts).map_while(server).find(|server| server.is_available);
        found.map(|server| server.key)
    }

    #[test]
    fn fallback_is_that_of_the_kernel() {
        let sizes = TableSizes { mh_index: 8, ..TableSizes::default() };
        for scheduler in [Scheduler::SH, Scheduler::DH, Scheduler::MH] {
            for (flags, fallback) in [(SchedulerFlags::default(), false), (SchedulerFlags::FALLBACK, true)] {
                for weights in
                    [&[1, 2, 3][..], &[1, 0, 3], &[0, 0, 1], &[1, 0, 0], &[0; 3], &[0, 1, 0, 0, 0, 0, 0, 0], &[0], &[]]
                {
                    let service = Service { flags, ..service(scheduler) };
                    let last = |server: Destination| (server, if server.weight == 0 { 90 } else { server.weight });
                    let servers: Vec<_> = servers(weights).into_iter().map(last).collect();
                    let table = LookupTable::with_last_weights(&service, &servers, sizes).expect("it hashes");
                    let fallback = fallback && scheduler != Scheduler::DH;
                    // The second run passes the greatest value.
                    for first in [0, u32::MAX - 1000] {
                        let run = Run::new(first, [&table, &table]);
                        for (client, picked) in table.picks(&run).into_iter().enumerate() {
                            let value = first.wrapping_add(client as u32);
                            let expected = pick_step_by_step(&table, value, fallback);
                            let case = format!("{scheduler} {weights:?} {fallback} {value}");
                            assert_eq!((picked, table.pick_value(value)), (expected, expected), "{case}");
                        }
                    }
                }
            }
        }
    }

    /// Fills the table of mh as the kernel does: each server on its own way.
    fn mh_slots_step_by_step(list: &[Destination], size: u32, turns: &[u32]) -> Vec<Option<u32>> {
        let value = |server: &Destination| fold(server.key.address, Family::V4).wrapping_add(server.key.port.into());
        let step = |value| mh_hash(value, MH_KEY_2) % (size - 1) + 1;
        let mut walks: Vec<_> =
            list.iter().map(value).map(|value| (mh_hash(value, MH_KEY_1) % size, step(value))).collect();
        let mut slots = vec![None; size as usize];
        let mut free = size;
        while free > 0 {
            for (server, (at, step)) in walks.iter_mut().enumerate() {
                for _ in 0..turns[server].min(free) {
                    while slots[*at as usize].is_some() {
                        *at = (*at + *step) % size;
                    }
                    slots[*at as usize] = Some(server as u32);
                    free -= 1;
                }
            }
        }
        slots
    }

    #[test]
    fn servers_with_equal_hashes_share_their_way() {
        // In a service of IPv4, only the first 32 bits of an IPv6 address count.
        let six = |last: u16| {
            Destination::new(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80), Forwarding::Tunnel(Default::default()))
        };
        let mut list: Vec<_> = (1..=20).map(six).collect();
        list.extend(servers(&[1; 20]));
        let weights: Vec<u32> = (0..40).map(|n| n % 4).collect();
        let list_of: Vec<&Destination> = list.iter().collect();
        assert_eq!(mh_slots(&list_of, &weights, Family::V4, 8), mh_slots_step_by_step(&list, 251, &weights));
    }
}
