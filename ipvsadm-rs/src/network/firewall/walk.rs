//! The way of one packet through the chains of a hook.
//!
//! A match that cannot be evaluated may hold or not. Both cases are followed: the rule is recorded as possible, and the
//! next rules see only the values that both cases have in common. Therefore the time is linear in the number of rules.

use super::model::{
    Base, Chain, Family, Field, Firewall, Hook, MarkChange, Match, Nat, Rule, Statement, Step, Table, Tool, state,
};
use super::packet::{Bits, Device, Packet, Truth};

/// The maximum depth of jumps. The kernel allows 16.
const MAX_DEPTH: usize = 16;
/// The maximum number of rules and entries of maps that are evaluated for one hook.
const MAX_STEPS: usize = 1_000_000;
const TOO_MANY: &str = "too many rules, jumps or entries of maps";
/// The priority of IPVS among the chains of [`Hook::Input`]. Chains after it do not see requests to services.
const IPVS_INPUT: i32 = 98;

/// A rule, or the policy of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The program with which an operator changes it.
    pub tool: Tool,
    /// The packets that the table sees.
    pub family: Family,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule as its program prints it. `None`: the policy of the chain.
    pub rule: Option<String>,
    /// The number of the rule in nft.
    pub handle: Option<u64>,
}

/// The end of a packet at one hook.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It continues.
    Accept,
    /// It is dropped.
    Drop(Place),
    /// It is dropped, and the sender gets an error.
    Reject(Place),
    /// It is not known, because of a rule.
    Unknown(Place, String),
}

/// The result of a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The end of the packet.
    pub verdict: Verdict,
    /// The packet after the hook, with its mark. It has no meaning unless the packet can be accepted.
    pub packet: Packet,
    /// The rule that has set the mark last, or may have set it.
    pub mark_by: Option<Place>,
    /// The translation, and its rule.
    pub nat: Option<(Nat, Place)>,
    /// A rule that may translate the packet, depending on something that is not known.
    pub possible_nat: Option<(Nat, Place)>,
}

/// A rule with a certain effect, and the result of its matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The rule.
    pub place: Place,
    /// The hook of its chain. `None`: it is in a chain that is reached by jumps.
    pub hook: Option<Hook>,
    /// The result of the matches of the rule. The packet may be decided before it reaches the rule.
    pub matches: Truth,
    /// The first field that differs.
    pub differs: Option<Field>,
}

impl Firewall {
    /// Returns the effect of all chains of a hook on a packet.
    #[must_use]
    pub fn walk(&self, hook: Hook, packet: &Packet) -> Walk {
        let mut bases: Vec<(&Table, &Chain, Base)> = self
            .tables
            .iter()
            .filter(|table| sees(table.family, packet))
            .flat_map(|table| table.chains.iter().map(move |chain| (table, chain)))
            .filter_map(|(table, chain)| Some((table, chain, chain.base.filter(|base| base.hook == hook)?)))
            .filter(|(_, _, base)| hook != Hook::Input || base.priority <= IPVS_INPUT)
            .collect();
        bases.sort_by_key(|(_, _, base)| base.priority);
        let mut packet = packet.clone();
        match hook {
            Hook::Prerouting | Hook::Input => packet.out_device = Device::None,
            Hook::Output => packet.in_device = Device::None,
            Hook::Forward | Hook::Postrouting => {}
        }
        let mut walker = Walker::default();
        for (table, chain, base) in bases {
            if base.nat {
                match packet.state {
                    Some(state::NEW | state::RELATED) => {}
                    None => {
                        walker.nat_is_uncertain = true;
                    }
                    Some(_) => continue,
                }
                // The first translation of a hook is the only one.
                if walker.nat.is_some() {
                    continue;
                }
            }
            let uncertain = base.nat && std::mem::take(&mut walker.nat_is_uncertain);
            if !walker.base(table, chain, base, uncertain, &mut packet) {
                break;
            }
        }
        walker.finish(packet)
    }

    /// Returns the rules that set a firewall mark so that it can become `mark`.
    #[must_use]
    pub fn rules_setting_mark(&self, mark: u32, packet: &Packet) -> Vec<Candidate> {
        self.candidates(packet, |statement| match statement {
            Statement::Mark(MarkChange::Bits { and, xor }) => (mark ^ xor) & !and == 0 && (*and, *xor) != (u32::MAX, 0),
            _ => false,
        })
    }

    /// Returns the rules that translate source addresses.
    #[must_use]
    pub fn rules_translating_sources(&self, packet: &Packet) -> Vec<Candidate> {
        self.candidates(packet, |statement| matches!(statement, Statement::Nat(Nat::Source(_) | Nat::Masquerade)))
    }

    /// Returns the rules with a statement, and whether a packet matches them.
    fn candidates(&self, packet: &Packet, wanted: impl Fn(&Statement) -> bool) -> Vec<Candidate> {
        let mut found = Vec::new();
        for table in &self.tables {
            for chain in &table.chains {
                for rule in &chain.rules {
                    if !rule.steps.iter().any(|step| matches!(step, Step::Do(statement) if wanted(statement))) {
                        continue;
                    }
                    let mut matches = Truth::from(sees(table.family, packet));
                    let mut differs = (matches == Truth::No).then_some(Field::Version);
                    for step in &rule.steps {
                        let one = match step {
                            Step::Match(comparison) => packet.matches(comparison),
                            Step::Unknown(_) => Truth::Unknown,
                            _ => Truth::Yes,
                        };
                        if let (Truth::No, Step::Match(comparison)) = (one, step) {
                            differs = differs.or(comparison.fields.first().copied());
                        }
                        matches = matches.and(one);
                    }
                    let hook = chain.base.map(|base| base.hook);
                    found.push(Candidate { place: place(table, chain, Some(rule)), hook, matches, differs });
                }
            }
        }
        found
    }
}

fn sees(family: Family, packet: &Packet) -> bool {
    match family {
        Family::Ip => packet.version == 4,
        Family::Ip6 => packet.version == 6,
        Family::Inet => true,
    }
}

fn place(table: &Table, chain: &Chain, rule: Option<&Rule>) -> Place {
    Place {
        tool: table.tool,
        family: table.family,
        table: table.name.clone(),
        chain: chain.name.clone(),
        rule: rule.map(|rule| rule.text.clone()),
        handle: rule.and_then(|rule| rule.handle),
    }
}

/// Packets that may leave a chain at its end or by `return`. `None`: none does.
type After = Option<Packet>;

fn join(own: &mut After, other: &Packet) {
    match own {
        Some(own) => own.join(other),
        None => *own = Some(other.clone()),
    }
}

#[derive(Default)]
struct Walker {
    steps: usize,
    /// The packet if a rule of the present base chain accepts it.
    accepted: After,
    /// The last rule that may end the packet's way, and whether with an error. The others before it do not decide.
    end: Option<(Place, bool)>,
    /// A rule with an unknown match or statement that decides.
    unknown: Option<(Place, String)>,
    /// A statement may have ended the packet's way.
    unknown_end: bool,
    ended: bool,
    /// A rule of the present base chain may have ended it.
    diverted: bool,
    mark_by: Option<Place>,
    nat: Option<(Nat, Place)>,
    possible_nat: Option<(Nat, Place)>,
    nat_is_uncertain: bool,
}

impl Walker {
    /// Walks a base chain. Returns whether a packet may continue after it.
    fn base(&mut self, table: &Table, chain: &Chain, base: Base, uncertain: bool, packet: &mut Packet) -> bool {
        self.diverted = false;
        self.accepted = uncertain.then(|| packet.clone());
        let end = self.chain(table, chain, packet.clone(), !uncertain, 0);
        if let Some(end) = end {
            if base.drops {
                self.end = Some((place(table, chain, None), false));
            } else {
                join(&mut self.accepted, &end);
            }
        }
        match self.accepted.take() {
            Some(accepted) => {
                *packet = accepted;
                true
            }
            None => {
                self.ended = true;
                false
            }
        }
    }

    /// Walks a chain. Returns the packets that leave it at the end or by `return`. `certain`: the packet gets there.
    fn chain(&mut self, table: &Table, chain: &Chain, packet: Packet, certain: bool, depth: usize) -> After {
        let mut here = packet;
        let mut returned: After = None;
        for rule in &chain.rules {
            self.steps += 1;
            if self.steps > MAX_STEPS || depth > MAX_DEPTH {
                self.note_unknown(place(table, chain, Some(rule)), TOO_MANY);
                self.unknown_end = true;
                break;
            }
            let certain = certain && !self.diverted && returned.is_none();
            let (next, by_return) = self.rule(table, chain, rule, &here, certain, depth);
            if let Some(by_return) = by_return {
                join(&mut returned, &by_return);
            }
            match next {
                Some(next) => here = next,
                None => return returned,
            }
        }
        join(&mut returned, &here);
        returned
    }

    /// Walks a rule. Returns the packets that reach the next rule, and those that leave the chain by `return`.
    fn rule(
        &mut self,
        table: &Table,
        chain: &Chain,
        rule: &Rule,
        before: &Packet,
        certain: bool,
        depth: usize,
    ) -> (After, After) {
        let mut next: After = None;
        let mut returned: After = None;
        let mut packet = before.clone();
        // Whether the packet has matched so far for certain.
        let mut sure = true;
        for step in &rule.steps {
            let mut doubt = |walker: &mut Self, next: &mut After, packet: &Packet, reason: &str| {
                join(next, packet);
                walker.note_unknown(place(table, chain, Some(rule)), reason);
                sure = false;
            };
            match step {
                Step::Match(comparison) => match self.matches(&packet, comparison) {
                    Truth::Yes => {}
                    Truth::No => {
                        join(&mut next, &packet);
                        return (next, returned);
                    }
                    Truth::Unknown => {
                        let name = comparison.fields.first().map_or("", |field| field_name(*field));
                        doubt(self, &mut next, &packet, &format!("the {name} is not known"));
                    }
                },
                Step::Unknown(text) => doubt(self, &mut next, &packet, &format!("`{text}` is not evaluated")),
                Step::Map(entries) => {
                    let mut open = true;
                    for (comparison, statement) in entries {
                        self.steps += 1;
                        if self.steps > MAX_STEPS {
                            self.note_unknown(place(table, chain, Some(rule)), TOO_MANY);
                            self.unknown_end = true;
                            break;
                        }
                        let matches = self.matches(&packet, comparison);
                        if matches == Truth::No {
                            continue;
                        }
                        let is_sure = certain && sure && open && matches == Truth::Yes;
                        if matches == Truth::Unknown {
                            self.note_unknown(place(table, chain, Some(rule)), "the key of the map is not known");
                        }
                        let at = (table, chain, rule);
                        let (after, by_return) = self.statement(at, statement, packet.clone(), is_sure, depth);
                        if let Some(after) = after {
                            join(&mut next, &after);
                        }
                        if let Some(by_return) = by_return {
                            join(&mut returned, &by_return);
                        }
                        if matches == Truth::Yes {
                            return (next, returned);
                        }
                        open = false;
                    }
                    // No entry, or perhaps none.
                    join(&mut next, &packet);
                    return (next, returned);
                }
                Step::Do(statement) => {
                    let at = (table, chain, rule);
                    let (after, by_return) = self.statement(at, statement, packet, certain && sure, depth);
                    if let Some(by_return) = by_return {
                        join(&mut returned, &by_return);
                    }
                    match after {
                        Some(after) => packet = after,
                        None => return (next, returned),
                    }
                }
            }
        }
        join(&mut next, &packet);
        (next, returned)
    }

    /// Runs a statement. Returns the packets that continue in the rule, and those that leave the chain by `return`.
    fn statement(
        &mut self,
        (table, chain, rule): (&Table, &Chain, &Rule),
        statement: &Statement,
        mut packet: Packet,
        certain: bool,
        depth: usize,
    ) -> (After, After) {
        let here = || place(table, chain, Some(rule));
        if matches!(statement, Statement::Accept | Statement::Drop | Statement::Reject | Statement::Nat(_)) {
            self.diverted |= !certain;
        }
        match statement {
            Statement::Accept => {
                join(&mut self.accepted, &packet);
                return (None, None);
            }
            Statement::Drop => {
                self.end = Some((here(), false));
                return (None, None);
            }
            Statement::Reject => {
                self.end = Some((here(), true));
                return (None, None);
            }
            Statement::Return => return (None, Some(packet)),
            Statement::Jump(name) | Statement::Goto(name) => {
                let at = table.chains.iter().position(|chain| chain.name == *name);
                // The search for a chain counts, too.
                self.steps += at.unwrap_or(table.chains.len()) / 16;
                let Some(target) = at.and_then(|at| table.chains.get(at)) else {
                    self.note_unknown(here(), &format!("`{name}` is not evaluated"));
                    self.unknown_end = true;
                    packet.mark = Bits::UNKNOWN;
                    return (Some(packet), None);
                };
                let after = self.chain(table, target, packet, certain, depth + 1);
                return if matches!(statement, Statement::Jump(_)) { (after, None) } else { (None, after) };
            }
            Statement::Mark(change) => {
                self.mark_by = Some(here());
                packet.mark = changed(packet.mark, packet.connection_mark, *change);
            }
            Statement::ConnectionMark(change) => {
                packet.connection_mark = changed(packet.connection_mark, packet.mark, *change);
            }
            Statement::NoTrack => packet.untrack(),
            Statement::Nat(nat) => {
                match nat {
                    Nat::Source(address) => packet.source = *address,
                    Nat::Masquerade => packet.source = None,
                    Nat::Destination(address, port) => {
                        packet.destination = *address;
                        packet.destination_port = port.or(packet.destination_port);
                        packet.destination_is_local = None;
                    }
                    Nat::Redirect(port) => {
                        packet.destination = None;
                        packet.destination_port = port.or(packet.destination_port);
                        packet.destination_is_local = Some(true);
                    }
                }
                if certain {
                    self.nat = Some((*nat, here()));
                } else {
                    self.possible_nat.get_or_insert_with(|| (*nat, here()));
                }
                join(&mut self.accepted, &packet);
                return (None, None);
            }
            Statement::Rewrite(field) => packet.forget(*field),
            Statement::Unknown(text) => {
                self.note_unknown(here(), &format!("`{text}` is not evaluated"));
                self.unknown_end = true;
                packet.mark = Bits::UNKNOWN;
            }
        }
        (Some(packet), None)
    }

    fn matches(&mut self, packet: &Packet, comparison: &Match) -> Truth {
        self.steps += comparison.rows.len() / 16;
        packet.matches(comparison)
    }

    fn note_unknown(&mut self, place: Place, reason: &str) {
        if self.unknown.is_none() {
            self.unknown = Some((place, reason.to_owned()));
        }
    }

    fn finish(self, packet: Packet) -> Walk {
        let verdict = match (self.end, self.unknown) {
            (Some((place, rejects)), _) if self.ended && !self.unknown_end => {
                if rejects {
                    Verdict::Reject(place)
                } else {
                    Verdict::Drop(place)
                }
            }
            (Some((place, _)), unknown) => {
                let reason = unknown.map_or_else(|| "it depends on another rule".into(), |(_, reason)| reason);
                Verdict::Unknown(place, reason)
            }
            (None, Some((place, reason))) if self.unknown_end => Verdict::Unknown(place, reason),
            (None, _) => Verdict::Accept,
        };
        Walk { verdict, packet, mark_by: self.mark_by, nat: self.nat, possible_nat: self.possible_nat }
    }
}

fn changed(own: Bits, other: Bits, change: MarkChange) -> Bits {
    match change {
        MarkChange::Bits { and, xor } => own.changed(and, xor),
        MarkChange::Copy => other,
        MarkChange::Unknown => Bits::UNKNOWN,
    }
}

/// Returns the name of a field in a message.
#[must_use]
pub fn field_name(field: Field) -> &'static str {
    match field {
        Field::Version => "version of IP",
        Field::InDevice => "device of arrival",
        Field::OutDevice => "outgoing device",
        Field::Source => "source address",
        Field::Destination => "destination address",
        Field::Protocol => "protocol",
        Field::SourcePort => "source port",
        Field::DestinationPort => "destination port",
        Field::Mark(_) => "firewall mark",
        Field::ConnectionMark(_) => "mark of the connection",
        Field::State => "state of the connection",
        Field::OriginalSource => "client's address",
        Field::OriginalDestination => "virtual address",
        Field::OriginalDestinationPort => "virtual port",
        Field::Direction => "direction",
        Field::TcpFlags(_) => "flags of TCP",
        Field::DestinationIsLocal => "type of the destination",
        Field::SentByIpvs => "service",
    }
}
