//! The screen: the state as a frame.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, RenderDirection, Sparkline, Widget};
use unicode_width::UnicodeWidthStr;

use super::columns::{Column, GAP, cut, fitting};
use super::model::Model;
use super::reading::{MOST_CONNECTIONS, States};
use super::rows::{Item, Key, Row, Sum, View};
use crate::sight::condition::{Severity, refusal_lines};
use crate::sight::number::{rate, short};
use crate::sight::rates::Rates;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The number of rows below which the screen has no head.
const SMALL: u16 = 12;

/// The lines above the table, without the sparkline and the titles of the columns.
fn head(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![title(model, width)];
    if let Some(service) = model.opened() {
        let key = service.service.key;
        let rates = model.sample.rates.as_ref().and_then(|rates| rates.of_service(&key));
        lines.push(Line::from(rates_line(rates)));
        lines.push(Line::from(states_line(model)));
    } else {
        let sum = Sum::of(&model.rows);
        lines.push(Line::from(rates_line(model.sample.rates.as_ref().map(|_| &sum.rates))));
        lines.push(Line::from(connections_line(model, &sum)));
    }
    lines
}

/// Returns the first line: the contents of the table on the left, the order and the time on the right.
fn title(model: &Model, width: usize) -> Line<'static> {
    let time = model.sample.reading.time.strftime("%H:%M:%S").to_string();
    let lowest = if model.is_reversed { ", lowest first" } else { "" };
    let sort = model.sort.title();
    let right = match model.is_frozen {
        true => format!("by {sort}{lowest}, FROZEN at {time}"),
        false => format!("by {sort}{lowest}, every {} s, {time}", model.interval.as_secs()),
    };
    let mut left = match (model.view, model.opened()) {
        (View::Service(_), Some(service)) => {
            let scheduler = service.service.scheduler.to_string();
            format!("{} {}", service.service.key, text::escaped(&scheduler))
        }
        (View::Service(key), None) => format!("{key} was deleted"),
        (view, _) => contents(model, view),
    };
    if !model.filter.is_empty() {
        left += &format!(", filter {}", text::escaped(&model.filter));
    }
    let room = width.saturating_sub(right.width() + GAP);
    let left = cut(&left, room);
    let blanks = " ".repeat(width.saturating_sub(left.width() + right.width()));
    let style = if model.is_frozen { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    Line::from(vec![
        Span::styled(left, Style::new().add_modifier(Modifier::BOLD)),
        blanks.into(),
        Span::styled(right, style),
    ])
}

/// Returns the number of services and servers: `500 services, 10000 servers, 3 problems`.
fn contents(model: &Model, view: View) -> String {
    let sum = Sum::of(&model.rows);
    let servers = count(sum.servers, "server");
    let all = match view {
        View::Services => format!("{}, {servers}", count(model.rows.len(), "service")),
        View::Servers | View::Service(_) => servers,
    };
    match (model.only_problems, sum.problems) {
        (true, _) => format!("{all} with problems"),
        (false, 0) => all,
        (false, problems) => format!("{all}, {}", count(problems, "problem")),
    }
}

fn rates_line(rates: Option<&Rates>) -> String {
    let Some(rates) = rates else {
        return "measuring: the kernel updates its counters every 2 s".into();
    };
    let Rates { connections, incoming_packets, outgoing_packets, incoming_bytes, outgoing_bytes } = *rates;
    format!(
        "CONN/S {}   PKT/S {} in, {} out   BIT/S {} in, {} out",
        rate(connections),
        rate(incoming_packets),
        rate(outgoing_packets),
        rate(8.0 * incoming_bytes),
        rate(8.0 * outgoing_bytes)
    )
}

fn connections_line(model: &Model, sum: &Sum) -> String {
    let Sum { active, inactive, syn_recv, .. } = sum;
    let syn_recv = unread(model).unwrap_or_else(|| format!("{} SYN_RECV", short(*syn_recv)));
    format!("{} active, {} inactive connections, {syn_recv}", short(*active), short(*inactive))
}

/// Returns the reason why the states of connections are unknown. `None` if they are known.
fn unread(model: &Model) -> Option<String> {
    match &model.sample.reading.states {
        States::Counted(_) => None,
        States::TooMany(_) => Some(format!("SYN_RECV not read: over {} entries", short(MOST_CONNECTIONS))),
        States::Unreadable(error) => Some(format!("SYN_RECV not read: {}", text::escaped(error))),
    }
}

/// Returns the connections of the opened service, by state: `120 ESTABLISHED, 3 FIN_WAIT`.
fn states_line(model: &Model) -> String {
    let (Some(service), States::Counted(counts)) = (model.opened(), &model.sample.reading.states) else {
        return unread(model).unwrap_or_default().replace("SYN_RECV", "states of connections");
    };
    let states = counts.of_service(&service.service.key);
    if states.is_empty() {
        return "no connections".into();
    }
    let one =
        |(state, number): (&ipvs::Name, &u64)| format!("{} {}", short(*number), text::escaped(&state.to_string()));
    states.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Returns the number of rows of the table on a screen of this size.
pub(super) fn page(model: &Model, area: Rect) -> usize {
    usize::from(area.height.saturating_sub(table_start(model, area) + 1 + 1))
}

/// Returns the row of the titles.
fn table_start(model: &Model, area: Rect) -> u16 {
    if area.height < SMALL {
        return 1;
    }
    4 + refusal_of_opened(model, usize::from(area.width)).len() as u16
}

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let width = usize::from(area.width);
    let start = table_start(model, area);
    let mut lines = head(model, width);
    if start == 1 {
        lines.truncate(1);
    }
    for (y, line) in (0..start).zip(&lines) {
        buffer.set_line(0, y, line, area.width);
    }
    if start > 1 {
        for (y, line) in (3..).zip(refusal_of_opened(model, width)) {
            buffer.set_stringn(0, y, line, width, style(model, Severity::Bad));
        }
        sparkline(buffer, model, Rect { y: start - 1, height: 1, ..area });
    }
    table(buffer, model, Rect { y: start, height: area.height.saturating_sub(start + 1), ..area });
    let (last, style) = status(model);
    buffer.set_stringn(0, area.height.saturating_sub(1), last, width, style);
    if model.has_help {
        help(buffer, area);
    }
}

/// The table must have room on the smallest screen with a head.
const MOST_REFUSAL_LINES: usize = 3;

/// Returns the lines about the clients that the opened service refuses. On a narrow screen, the last ones are cut.
fn refusal_of_opened(model: &Model, width: usize) -> Vec<String> {
    let assessment = model.opened().and_then(|service| model.sample.assessments.get(&service.service.key));
    let refusal = assessment.and_then(|assessment| assessment.refusal.as_ref());
    let mut lines = refusal.map(|refusal| refusal_lines(refusal, Some(width))).unwrap_or_default();
    lines.truncate(MOST_REFUSAL_LINES);
    lines
}

/// Draws the rates of the last minutes, the latest on the right.
fn sparkline(buffer: &mut Buffer, model: &Model, area: Rect) {
    let key = match model.sort {
        Key::Packets | Key::Bits => model.sort,
        Key::Name | Key::Rate | Key::Active | Key::Inactive | Key::SynRecv => Key::Rate,
    };
    let service = model.opened().map(|service| service.service.key);
    let past = model.history.of(service.as_ref(), key);
    let label = format!("{} ", key.title());
    let Some(length) = usize::from(area.width).checked_sub(label.len() + "  max 99.9k in 5m 00s".len()) else { return };
    let shown = &past[..past.len().min(length)];
    if shown.is_empty() {
        return;
    }
    let most = shown.iter().copied().fold(0.0, f32::max);
    let seconds = model.interval.as_secs() * shown.len() as u64;
    let range = format!("  max {} in {}m {:02}s", rate(most.into()), seconds / 60, seconds % 60);
    buffer.set_string(area.x, area.y, &label, Style::new());
    buffer.set_string(area.right() - range.len() as u16, area.y, &range, Style::new());
    // A sparkline has whole numbers. The scale does not matter.
    let scale = if most > 0.0 { 1000.0 / most } else { 0.0 };
    let data: Vec<u64> = shown.iter().map(|value| (value * scale) as u64).collect();
    let x = area.x + label.len() as u16;
    let bars = Rect { x, width: area.right() - range.len() as u16 - x, ..area };
    let style = if model.is_colored { Style::new().fg(Color::Cyan) } else { Style::new() };
    Sparkline::default()
        .data(&data)
        .max(1000)
        .direction(RenderDirection::RightToLeft)
        .style(style)
        .render(bars, buffer);
}

fn style(model: &Model, severity: Severity) -> Style {
    let style = Style::new();
    match (severity, model.is_colored) {
        (Severity::Usual, _) | (Severity::Warning, false) => style,
        (Severity::Warning, true) => style.fg(Color::Yellow),
        (Severity::Bad, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
        (Severity::Bad, false) => style.add_modifier(Modifier::BOLD),
    }
}

/// Draws the titles and the rows.
fn table(buffer: &mut Buffer, model: &Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let columns = fitting(model.view, usize::from(area.width));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut x = area.x;
    for (column, width) in &columns {
        let is_sorted = column.key() == Some(model.sort);
        let style = if is_sorted { bold.add_modifier(Modifier::UNDERLINED) } else { bold };
        let indent = if *column == Column::Name { mark_width(model.view) } else { 0 };
        let title = cut(column.title(model.view), width.saturating_sub(indent));
        let blanks = if column.is_text() { indent } else { width.saturating_sub(title.width()) };
        buffer.set_string(x + blanks as u16, area.y, &title, style);
        x += (width + GAP) as u16;
    }
    let rows = model.rows.iter().skip(model.offset);
    for (row, y) in rows.zip(area.y + 1..area.bottom()) {
        draw_row(buffer, model, &columns, row, Rect { y, height: 1, ..area });
    }
    if model.rows.is_empty() && area.height > 1 {
        let is_limited = !model.filter.is_empty() || model.only_problems;
        let text = if is_limited { "nothing matches" } else { "nothing to show" };
        buffer.set_stringn(area.x, area.y + 1, text, usize::from(area.width), Style::new());
    }
}

/// Returns the width of the mark before the name of a service with a problem.
fn mark_width(view: View) -> usize {
    if view == View::Services { 2 } else { 0 }
}

fn draw_row(buffer: &mut Buffer, model: &Model, columns: &[(Column, usize)], row: &Row, area: Rect) {
    let mut x = area.x;
    for (column, width) in columns {
        let (indent, mark) = match column {
            Column::Name => (mark_width(model.view), if row.problem().is_some() { "!" } else { "" }),
            _ => (0, ""),
        };
        let cell = cut(&column.cell(row), width.saturating_sub(indent));
        let blanks = if column.is_text() { indent } else { width.saturating_sub(cell.width()) };
        let style = style(model, severity_of(*column, row));
        buffer.set_string(x, area.y, mark, style);
        buffer.set_string(x + blanks as u16, area.y, &cell, style);
        x += (width + GAP) as u16;
    }
    if model.cursor == Some(row.item) {
        buffer.set_style(area, Style::new().add_modifier(Modifier::REVERSED));
    }
}

/// Returns the severity that a cell shows.
fn severity_of(column: Column, row: &Row) -> Severity {
    match column {
        Column::Name | Column::Problem | Column::State => row.severity(),
        Column::Active => of_limit(row),
        Column::SynRecv => of_syn_recv(row),
        _ => Severity::Usual,
    }
}

/// A server that has 80 % of the connections of its upper threshold is nearly full.
fn of_limit(row: &Row) -> Severity {
    let connections = row.active + row.inactive;
    match row.limit {
        0 => Severity::Usual,
        limit if connections >= limit => Severity::Bad,
        limit if connections * 5 >= limit * 4 => Severity::Warning,
        _ => Severity::Usual,
    }
}

/// Connections that stay in SYN_RECV get no answer, or the director sees none: a few are normal. From 10 on, a tenth of
/// the active connections is a warning, and as many as are active are bad.
fn of_syn_recv(row: &Row) -> Severity {
    const FEW: u64 = 10;
    match row.syn_recv {
        Some(number) if number >= FEW && number >= row.active => Severity::Bad,
        Some(number) if number >= FEW && number * 10 >= row.active => Severity::Warning,
        _ => Severity::Usual,
    }
}

/// Returns the last line: the filter that is typed, a message, the problem of the selected service, or the keys.
fn status(model: &Model) -> (String, Style) {
    const KEYS: &str = "q quit  enter open  tab servers  / filter  space freeze  d drain  ? help";
    const KEYS_OF_SERVICE: &str = "q quit  esc back  tab services  / filter  space freeze  d drain  ? help";
    if model.is_typing {
        return (format!("filter: {}_", text::escaped(&model.filter)), Style::new());
    }
    if let Some(message) = &model.message {
        return (text::escaped(message).into_owned(), style(model, Severity::Warning));
    }
    if let Some(failure) = &model.failure {
        return (format!("cannot {}", text::escaped(failure)), style(model, Severity::Bad));
    }
    if model.sample.reading.state.is_uncertain {
        return (
            "the table changed while it was read: services may be missing".into(),
            style(model, Severity::Warning),
        );
    }
    let refusal = model.row().and_then(|row| match row.item {
        Item::Service(_) => row.assessment.as_ref()?.refusal.as_ref(),
        Item::Server(..) => None,
    });
    match (refusal, model.view) {
        (Some(refusal), _) => (text::escaped(refusal).into_owned(), style(model, Severity::Bad)),
        (None, View::Service(_)) => (KEYS_OF_SERVICE.into(), Style::new()),
        (None, View::Servers) => (KEYS.replace("tab servers", "tab services"), Style::new()),
        (None, View::Services) => (KEYS.into(), Style::new()),
    }
}

/// The keys and their meaning.
const HELP: [(&str, &str); 14] = [
    ("up, down, k, j", "select a row; also page up and down, home and end"),
    ("enter, right", "open the service: its servers and the states of connections"),
    ("esc, left", "back to the list; esc also removes filter and selection"),
    ("tab", "switch between services and servers"),
    ("c p b", "sort by CONN/S, PKT/S, BIT/S"),
    ("a i s n", "sort by ACTIVE, INACTIVE, SYN_RECV, name"),
    ("r", "reverse the order"),
    ("/", "filter by a part of a name; enter ends the input"),
    ("!", "show only services and servers with problems"),
    ("space", "freeze the screen, or continue"),
    ("d", "drain the selected server or service, after a question"),
    ("^Z", "suspend"),
    ("q, ^C", "quit"),
    ("", "press any key to continue"),
];

fn help(buffer: &mut Buffer, area: Rect) {
    let lines: Vec<Line<'_>> = HELP.iter().map(|(keys, meaning)| Line::from(format!("{keys:<15} {meaning}"))).collect();
    let (width, height) = (lines.iter().map(Line::width).max().unwrap_or_default() as u16 + 4, lines.len() as u16 + 2);
    let (width, height) = (width.min(area.width), height.min(area.height));
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let place = Rect { x, y, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(" keys ").padding(ratatui::widgets::Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(place, buffer);
}
