//! The comparison of one service on two directors.

use std::io::{self, Write};

use ipvs::estimate::{Difference, Differences, differences, differing_clients, tables_alike};
use ipvs::hash::{LookupTable, TableSizes};
use ipvs::{DestinationKey, ServiceConfig, ServiceKey};
use serde::Serialize;

use super::difference::{Described, write_difference, write_folded};
use crate::plan::clients::rounded;
use crate::plan::report::{ServerName, ServiceName};
use crate::terminal::plural::count;

/// The result for one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alike,
    NotAlike,
    /// Only the hash tables can decide, and they were not compared.
    NotKnown,
}

/// A service on two directors.
pub(super) struct Compared<'c> {
    key: ServiceKey,
    here: Option<&'c ServiceConfig>,
    there: Option<&'c ServiceConfig>,
    pub(super) verdict: Verdict,
    /// The reason why the verdict is not known.
    reason: Option<&'static str>,
    /// The share of new clients that get another server, 0 to 1. Its ends differ if it depends on values that the kernel
    /// does not report. `None` unless both schedulers hash.
    share: Option<(f64, f64)>,
    settings: Vec<Difference>,
    unknown_last_weights: Vec<DestinationKey>,
}

/// The result as JSON.
#[derive(Serialize)]
pub(super) struct Row {
    service: ServiceName,
    /// `null`: not known.
    alike: Option<bool>,
    /// The reason why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The maximum if it is a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// The minimum, if it is a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_share: Option<f64>,
    /// Servers of weight 0 whose last weight is unknown and used by mh.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_last_weights: Vec<ServerName>,
    differences: Vec<Described>,
}

impl<'c> Compared<'c> {
    /// Compares the settings. [`compare_tables`](Self::compare_tables) is needed in addition for some services.
    pub(super) fn new(key: ServiceKey, here: Option<&'c ServiceConfig>, there: Option<&'c ServiceConfig>) -> Self {
        let mut compared = Self {
            key,
            here,
            there,
            verdict: Verdict::NotAlike,
            reason: None,
            share: None,
            settings: Vec::new(),
            unknown_last_weights: Vec::new(),
        };
        if let Some((here, there)) = compared.both() {
            let Differences { settings, tables_decide, unknown_last_weights, .. } = differences(here, there);
            compared.verdict = match settings.is_empty() {
                true => Verdict::Alike,
                false if tables_decide => Verdict::NotKnown,
                false => Verdict::NotAlike,
            };
            let has_table = LookupTable::exists_for(&here.service);
            compared.share = (compared.verdict == Verdict::Alike && has_table).then_some((0.0, 0.0));
            (compared.settings, compared.unknown_last_weights) = (settings, unknown_last_weights);
        }
        compared
    }

    fn both(&self) -> Option<(&'c ServiceConfig, &'c ServiceConfig)> {
        self.here.zip(self.there)
    }

    /// Returns the service of each director that has it.
    pub(super) fn sides(&self) -> impl Iterator<Item = &'c ServiceConfig> + use<'c> {
        self.here.into_iter().chain(self.there)
    }

    /// Returns whether only the hash tables can decide.
    pub(super) fn needs_tables(&self) -> bool {
        self.verdict == Verdict::NotKnown && self.reason.is_none()
    }

    pub(super) fn compare_tables(&mut self, sizes: TableSizes) {
        let Some((here, there)) = self.both() else { return };
        match tables_alike(here, there, sizes) {
            Some(true) => (self.verdict, self.share) = (Verdict::Alike, Some((0.0, 0.0))),
            Some(false) => self.verdict = Verdict::NotAlike,
            None => self.reason = Some("mh has more servers than slots, so the tables of the kernels are not known"),
        }
    }

    /// Records that there was no time for [`compare_tables`](Self::compare_tables).
    pub(super) fn skip_tables(&mut self) {
        self.reason = Some("there was no time to compare the hash tables");
    }

    /// Returns whether the share of clients is not known to be 0.
    pub(super) fn needs_share(&self) -> bool {
        let has_tables = self.both().is_some() && self.sides().all(|side| LookupTable::exists_for(&side.service));
        let is_0 = self.verdict == Verdict::Alike && self.unknown_last_weights.is_empty();
        has_tables && !is_0 && self.verdict != Verdict::NotKnown
    }

    pub(super) fn compute_share(&mut self, sizes: TableSizes) {
        let Some((here, there)) = self.both() else { return };
        self.share = differing_clients(here, there, sizes).map(|effect| effect.differing());
    }

    /// Returns whether hash tables were computed, or are known to be equal.
    pub(super) fn used_tables(&self) -> bool {
        self.share.is_some()
    }

    pub(super) fn row(&self) -> Row {
        let schedulers = self.both().map(|(here, there)| (here.service.scheduler, there.service.scheduler));
        let settings = self.settings.iter().zip(schedulers.into_iter().cycle());
        let missing = self.both().is_none().then(|| Described::missing(self.here.is_some()));
        Row {
            service: self.key.into(),
            alike: match self.verdict {
                Verdict::Alike => Some(true),
                Verdict::NotAlike => Some(false),
                Verdict::NotKnown => None,
            },
            reason: self.reason,
            share: self.share.map(|(_, most)| most),
            min_share: self.share.and_then(|(least, most)| (least < most).then_some(least)),
            unknown_last_weights: self.unknown_last_weights.iter().copied().map(ServerName::from).collect(),
            differences: settings
                .map(|(difference, schedulers)| Described::new(difference, schedulers))
                .chain(missing)
                .collect(),
        }
    }

    pub(super) fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let percent = |share: f64| rounded(share * 100.0, 1);
        let clients = "of new clients get another server";
        let verdict = match (self.verdict, self.share) {
            (Verdict::Alike, _) if self.settings.is_empty() => "alike".into(),
            (Verdict::Alike, _) => "alike, although settings differ".into(),
            (Verdict::NotKnown, _) => format!("not known: {}", self.reason.unwrap_or_default()),
            (Verdict::NotAlike, Some((least, most))) if least < most => {
                format!("not alike: {} to {} % {clients}", percent(least), percent(most))
            }
            (Verdict::NotAlike, Some((_, most))) if most > 0.0 => format!("not alike: {} % {clients}", percent(most)),
            (Verdict::NotAlike, _) => "not alike".into(),
        };
        write_folded(out, width, "", &format!("{}: {verdict}", self.key))?;
        match self.both() {
            None if self.here.is_some() => writeln!(out, "  service only here")?,
            None => writeln!(out, "  service only there")?,
            Some((here, there)) => {
                let schedulers = (here.service.scheduler, there.service.scheduler);
                for difference in &self.settings {
                    write_difference(out, width, difference, schedulers)?;
                }
            }
        }
        if !self.unknown_last_weights.is_empty() {
            let servers = match self.unknown_last_weights.as_slice() {
                [one] => one.to_string(),
                several => count(several.len(), "server"),
            };
            let most = self.share.map(|(_, most)| format!("up to {} % of ", percent(most))).unwrap_or_default();
            let text = format!(
                "the kernels do not report the weight of {servers} before weight 0: if it differs, {most}new clients \
                 get another server"
            );
            write_folded(out, width, "  ", &text)?;
        }
        Ok(())
    }
}
