//! The state of the screen. It depends only on samples and keys.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use ipvs::{ServiceKey, ServiceState};
use termion::event::Key as Press;

use super::reading::Sample;
use super::rows::{self, Item, Key, Row, Sum, View, bits, packets};
use crate::sight::rates::Rates;
use crate::sight::selection::Selected;

/// The options of the command line that the screen starts with.
pub(super) struct Options {
    pub(super) selected: Selected,
    pub(super) interval: Duration,
    pub(super) sort: Key,
    pub(super) view: View,
    pub(super) is_colored: bool,
}

/// The state of the screen.
pub(super) struct Model {
    pub(super) selected: Selected,
    pub(super) interval: Duration,
    pub(super) sort: Key,
    pub(super) is_reversed: bool,
    pub(super) is_colored: bool,
    pub(super) view: View,
    /// The view to return to from a service.
    last_view: View,
    pub(super) filter: String,
    /// Whether the filter is being typed.
    pub(super) is_typing: bool,
    pub(super) only_problems: bool,
    pub(super) is_frozen: bool,
    pub(super) has_help: bool,
    /// A message in place of the keys, until the next key.
    pub(super) message: Option<String>,
    /// The reason why the table could not be read. The sample is the last one that could be read.
    pub(super) failure: Option<String>,
    /// The sample that is shown.
    pub(super) sample: Rc<Sample>,
    /// The last sample. It differs from the one that is shown while the screen is frozen.
    latest: Rc<Sample>,
    pub(super) history: History,
    /// The rows that are shown, sorted and filtered.
    pub(super) rows: Vec<Row>,
    pub(super) cursor: Option<Item>,
    /// The first row on the screen.
    pub(super) offset: usize,
    /// The number of rows on the screen.
    page: usize,
}

/// The task of the loop after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
    Suspend,
    /// Ask about a drain, and drain.
    Drain(Item),
}

impl Model {
    pub(super) fn new(options: Options, sample: Sample) -> Self {
        let Options { selected, interval, sort, view, is_colored } = options;
        let sample = Rc::new(sample);
        let mut model = Self {
            only_problems: selected.only_problems,
            selected,
            interval,
            sort,
            is_reversed: false,
            is_colored,
            view,
            last_view: view,
            filter: String::new(),
            is_typing: false,
            is_frozen: false,
            has_help: false,
            message: None,
            failure: None,
            latest: Rc::clone(&sample),
            sample,
            history: History::default(),
            rows: Vec::new(),
            cursor: None,
            offset: 0,
            page: 1,
        };
        model.arrange();
        model
    }

    /// Returns the last sample, to which the next reading is compared.
    pub(super) fn latest(&self) -> &Sample {
        &self.latest
    }

    /// Shows a new sample, unless the screen is frozen.
    pub(super) fn add(&mut self, sample: Sample) {
        self.failure = None;
        self.history.add(&sample, &self.selected);
        self.latest = Rc::new(sample);
        if !self.is_frozen {
            self.sample = Rc::clone(&self.latest);
            self.arrange();
        }
    }

    /// Reports that the table could not be read.
    pub(super) fn fail(&mut self, reason: String) {
        self.failure = Some(reason);
    }

    /// Sets the number of rows on the screen.
    pub(super) fn set_page(&mut self, rows: usize) {
        self.page = rows.max(1);
        self.scroll();
    }

    /// Returns the service that is shown alone. `None`: there is none, or it was deleted.
    pub(super) fn opened(&self) -> Option<&ServiceState> {
        let View::Service(key) = self.view else { return None };
        self.sample.reading.state.services.iter().find(|service| service.service.key == key)
    }

    /// Returns the row of the cursor.
    pub(super) fn row(&self) -> Option<&Row> {
        self.position().map(|position| &self.rows[position])
    }

    fn position(&self) -> Option<usize> {
        let cursor = self.cursor?;
        self.rows.iter().position(|row| row.item == cursor)
    }

    /// Processes a key.
    pub(super) fn press(&mut self, key: Press) -> Action {
        if key == Press::Ctrl('c') {
            return Action::Quit;
        }
        self.message = None;
        if std::mem::take(&mut self.has_help) {
            return Action::Nothing;
        }
        if self.is_typing {
            self.type_filter(key);
            return Action::Nothing;
        }
        match key {
            Press::Char('q') => return Action::Quit,
            Press::Ctrl('z') => return Action::Suspend,
            Press::Char('d') => match self.row() {
                Some(row) if row.up.1 == 0 => self.message = Some("this service has no servers".into()),
                Some(row) => return Action::Drain(row.item),
                None => self.message = Some("select a server or service first, with the arrow keys".into()),
            },
            Press::Char('?' | 'h') => self.has_help = true,
            Press::Char('/') => self.is_typing = true,
            Press::Char(' ') => self.freeze(),
            key => self.arrange_by(key),
        }
        Action::Nothing
    }

    fn type_filter(&mut self, key: Press) {
        match key {
            Press::Char('\n') => self.is_typing = false,
            Press::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            Press::Ctrl('u') => self.filter.clear(),
            Press::Backspace | Press::Ctrl('h') => drop(self.filter.pop()),
            Press::Char(character) if !character.is_control() => self.filter.push(character),
            _ => {}
        }
        self.arrange();
    }

    fn freeze(&mut self) {
        self.is_frozen = !self.is_frozen;
        if !self.is_frozen {
            self.sample = Rc::clone(&self.latest);
            self.arrange();
        }
    }

    /// Processes keys that change the rows or the cursor.
    fn arrange_by(&mut self, key: Press) {
        match key {
            Press::Up | Press::Char('k') => return self.step(-1),
            Press::Down | Press::Char('j') => return self.step(1),
            Press::PageUp => return self.step(-(self.page as isize)),
            Press::PageDown => return self.step(self.page as isize),
            Press::Home | Press::Char('g') => return self.step(isize::MIN),
            Press::End | Press::Char('G') => return self.step(isize::MAX),
            Press::Char('\n') | Press::Right => self.open(),
            Press::Esc | Press::Left | Press::Backspace => self.back(key == Press::Esc),
            Press::Char('\t') => self.switch(),
            Press::Char('!') => self.only_problems = !self.only_problems,
            Press::Char('r') => self.is_reversed = !self.is_reversed,
            Press::Char(letter) => match sort_key(letter) {
                Some(key) => self.sort = key,
                None => return,
            },
            _ => return,
        }
        self.arrange();
    }

    /// Opens the service of the cursor, or of the first row.
    fn open(&mut self) {
        let Some(item) = self.row().or(self.rows.first()).map(|row| row.item) else { return };
        if !matches!(self.view, View::Service(_)) {
            self.last_view = self.view;
            self.view = View::Service(item.service());
            // A server stays selected.
            self.cursor = Some(item).filter(|item| matches!(item, Item::Server(..)));
            self.filter.clear();
            self.only_problems = false;
        }
    }

    /// Returns from a service. Otherwise, Esc removes the filter, or the cursor.
    fn back(&mut self, is_escape: bool) {
        match self.view {
            View::Service(service) => {
                self.view = self.last_view;
                if self.view == View::Services {
                    self.cursor = Some(Item::Service(service));
                }
                self.only_problems = self.selected.only_problems;
                self.filter.clear();
            }
            _ if is_escape && !self.filter.is_empty() => self.filter.clear(),
            _ if is_escape => {
                self.cursor = None;
                self.offset = 0;
            }
            _ => {}
        }
    }

    /// Switches between services and servers.
    fn switch(&mut self) {
        self.view = match self.view {
            View::Services => View::Servers,
            View::Servers | View::Service(_) => View::Services,
        };
        self.last_view = self.view;
        self.cursor = None;
        self.offset = 0;
    }

    /// Moves the cursor by a number of rows.
    fn step(&mut self, by: isize) {
        let Some(last) = self.rows.len().checked_sub(1) else { return };
        let next = match self.position() {
            Some(position) => position.saturating_add_signed(by).min(last),
            None if by == isize::MAX => last,
            None => self.offset.min(last),
        };
        self.cursor = Some(self.rows[next].item);
        self.scroll();
    }

    /// Scrolls, so that the row of the cursor is on the screen.
    fn scroll(&mut self) {
        if let Some(position) = self.position() {
            self.offset = self.offset.clamp((position + 1).saturating_sub(self.page), position);
        }
        self.offset = self.offset.min(self.rows.len().saturating_sub(self.page));
    }

    /// Computes the rows again.
    fn arrange(&mut self) {
        let before = self.position();
        let mut rows = rows::rows(&self.sample, self.view, &self.selected);
        if self.only_problems {
            rows.retain(Row::is_problem);
        }
        if !self.filter.is_empty() {
            let filter = self.filter.to_lowercase();
            rows.retain(|row| self.matches(row, &filter));
        }
        rows::sort(&mut rows, self.sort, self.is_reversed);
        self.rows = rows;
        // The item of the cursor was deleted: the one that took its place.
        if let (Some(before), None) = (before, self.position()) {
            self.cursor = self.rows.get(before.min(self.rows.len().saturating_sub(1))).map(|row| row.item);
        }
        self.scroll();
    }

    /// Returns whether a row contains a text: the name of the item, of its service, or of a server of the service.
    fn matches(&self, row: &Row, filter: &str) -> bool {
        let contains = |name: String| name.to_lowercase().contains(filter);
        if contains(row.item.name()) {
            return true;
        }
        match (row.item, self.view) {
            (Item::Server(service, _), View::Servers) => contains(service.to_string()),
            (Item::Server(..), _) => false,
            (Item::Service(key), _) => {
                // The services of a reading are sorted by name.
                let services = &self.sample.reading.state.services;
                let found = services.binary_search_by_key(&key, |service| service.service.key);
                let servers = found.map_or(&[][..], |at| &services[at].destinations);
                servers.iter().any(|server| contains(server.destination.key.to_string()))
            }
        }
    }
}

/// Returns the sort key of a letter.
fn sort_key(letter: char) -> Option<Key> {
    Some(match letter {
        'n' => Key::Name,
        'c' => Key::Rate,
        'p' => Key::Packets,
        'b' => Key::Bits,
        'a' => Key::Active,
        'i' => Key::Inactive,
        's' => Key::SynRecv,
        _ => return None,
    })
}

/// The rates of the last minutes.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The sums over the services and servers that the command line selects.
    total: Past,
    services: HashMap<ServiceKey, Past>,
}

/// Connections, packets and bits per second, the latest first.
type Past = VecDeque<[f32; 3]>;

/// The number of intervals that are remembered: five minutes of 2 s.
const MOST_INTERVALS: usize = 150;

impl History {
    fn add(&mut self, sample: &Sample, selected: &Selected) {
        let Some(rates) = &sample.rates else { return };
        let view = if selected.names_servers() { View::Servers } else { View::Services };
        push(&mut self.total, &Sum::of(&rows::rows(sample, view, selected)).rates);
        let mut past = std::mem::take(&mut self.services);
        for service in &sample.reading.state.services {
            let key = service.service.key;
            if let Some(rates) = rates.of_service(&key) {
                let mut past = past.remove(&key).unwrap_or_default();
                push(&mut past, rates);
                self.services.insert(key, past);
            }
        }
    }

    /// Returns a rate of the last intervals, the latest first: of a service, or the total.
    pub(super) fn of(&self, service: Option<&ServiceKey>, key: Key) -> Vec<f32> {
        let past = service.map_or(Some(&self.total), |service| self.services.get(service));
        let index = match key {
            Key::Packets => 1,
            Key::Bits => 2,
            Key::Name | Key::Rate | Key::Active | Key::Inactive | Key::SynRecv => 0,
        };
        past.into_iter().flatten().map(|rates| rates[index]).collect()
    }
}

fn push(past: &mut Past, rates: &Rates) {
    past.push_front([rates.connections as f32, packets(rates) as f32, bits(rates) as f32]);
    past.truncate(MOST_INTERVALS);
}
