//! Tests of the screen: frames from recorded readings.
//!
//! The frames are files in `frames`. `IPVS_ACCEPT=1 cargo test -p ipvsadm-rs frames` writes them again.

use std::path::PathBuf;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use termion::event::Key as Press;

use super::model::Model;
use super::rows::View;
use super::testing::{model, sample_of_many_connections};
use super::{plain, rows, view};
use crate::terminal::color::Palette;

/// Draws the screen.
fn draw(model: &mut Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
    model.set_page(view::page(model, Rect::new(0, 0, width, height)));
    terminal.draw(|frame| view::draw(frame, model)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// Returns the rows of the screen, without blanks at their ends.
fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let row = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..area.height).map(row).collect()
}

/// Compares a text with a file.
#[track_caller]
fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/verbs/top/frames").join(name);
    if std::env::var_os("IPVS_ACCEPT").is_some() {
        std::fs::write(&path, text).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{} is not\n{text}\nTo accept it, set IPVS_ACCEPT=1.", path.display());
}

#[track_caller]
fn check_frames(name: &str, model: &mut Model) {
    for (width, height) in [(80, 24), (120, 40)] {
        let lines = lines(&draw(model, width, height));
        check(&format!("{name}-{width}x{height}.txt"), &format!("{}\n", lines.join("\n")));
    }
}

fn press(model: &mut Model, keys: &[Press]) {
    for key in keys {
        model.press(*key);
    }
}

#[test]
fn services() {
    check_frames("services", &mut model(View::Services, 40));
}

/// docs/operations.md shows this screen, without its empty rows.
#[test]
fn the_documentation_shows_this_screen() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let screen = lines(&draw(&mut model(View::Services, 40), 80, 24));
    let rows: Vec<&str> = screen.iter().map(String::as_str).filter(|row| !row.is_empty()).collect();
    assert!(page.contains(&format!("```\n{}\n```\n", rows.join("\n"))), "{}", rows.join("\n"));
}

#[test]
fn first_reading_has_no_rates() {
    check_frames("first", &mut model(View::Services, 0));
}

#[test]
fn servers_of_all_services() {
    let mut model = model(View::Servers, 40);
    press(&mut model, &[Press::Char('b'), Press::Down]);
    check_frames("servers", &mut model);
}

#[test]
fn one_service() {
    let mut model = model(View::Services, 40);
    press(&mut model, &[Press::Char('n'), Press::Down, Press::Char('\n')]);
    check_frames("service", &mut model);
    // It refuses some clients.
    press(&mut model, &[Press::Esc, Press::Down, Press::Char('\n'), Press::Char('p')]);
    check_frames("refusing", &mut model);
}

#[test]
fn filter_and_problems() {
    let mut model = model(View::Services, 40);
    press(&mut model, &[Press::Char('/'), Press::Char('1'), Press::Char('0'), Press::Char('.'), Press::Char('1')]);
    check_frames("filter", &mut model);
    press(&mut model, &[Press::Esc, Press::Char('!'), Press::Char('r'), Press::Char(' ')]);
    check_frames("problems", &mut model);
}

#[test]
fn keys_are_listed() {
    let mut model = model(View::Services, 40);
    press(&mut model, &[Press::Char('?')]);
    check_frames("help", &mut model);
}

#[test]
fn unread_connections_are_reported() {
    let mut model = model(View::Services, 39);
    model.add(sample_of_many_connections());
    let text = lines(&draw(&mut model, 80, 24)).join("\n");
    assert!(text.contains("SYN_RECV not read: over 20.0k entries"), "{text}");
    press(&mut model, &[Press::Char('n'), Press::Char('\n')]);
    let text = lines(&draw(&mut model, 80, 24)).join("\n");
    assert!(text.contains("states of connections not read: over 20.0k entries"), "{text}");
    assert!(!text.contains("ESTABLISHED"), "{text}");
}

#[test]
fn failures_are_reported() {
    let mut model = model(View::Services, 3);
    model.fail("read the services: no\u{1b}[2J reply".into());
    let last = lines(&draw(&mut model, 80, 24)).pop().expect("a line");
    assert_eq!(last, r"cannot read the services: no\x1b[2J reply");
}

/// Returns the colour and the modifiers of a text on the screen.
fn style_of(buffer: &Buffer, text: &str) -> (Color, Modifier) {
    let lines = lines(buffer);
    let find = |(y, line): (usize, &String)| {
        let at = line.rfind(text)?;
        Some((line[..at].chars().count() as u16, y as u16))
    };
    let (x, y) = lines.iter().enumerate().find_map(find).unwrap_or_else(|| panic!("no {text}"));
    (buffer[(x, y)].fg, buffer[(x, y)].modifier)
}

#[test]
fn colours_depend_on_thresholds() {
    let mut screen = model(View::Services, 40);
    let services = draw(&mut screen, 120, 40);
    assert_eq!(style_of(&services, "! FWM 7"), (Color::Red, Modifier::BOLD), "no servers");
    assert_eq!(style_of(&services, "! TCP 10.0.0.1:80"), (Color::Yellow, Modifier::empty()), "a server is draining");
    assert_eq!(style_of(&services, "UDP 10.0.0.1:53"), (Color::Reset, Modifier::empty()));
    let mut screen = model(View::Servers, 40);
    let servers = draw(&mut screen, 120, 40);
    assert_eq!(style_of(&servers, "10.1.0.3:8080"), (Color::Yellow, Modifier::empty()), "draining");
    assert_eq!(style_of(&servers, "35 "), (Color::Yellow, Modifier::empty()), "42 of at most 50 connections");
    assert_eq!(style_of(&servers, "22").0, Color::Red, "most connections are in SYN_RECV");
}

#[test]
fn without_colours_bad_is_bold() {
    let mut screen = model(View::Services, 40);
    screen.is_colored = false;
    let buffer = draw(&mut screen, 120, 40);
    assert!(buffer.content.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    assert_eq!(style_of(&buffer, "! FWM 7").1, Modifier::BOLD);
    press(&mut screen, &[Press::Down]);
    let buffer = draw(&mut screen, 120, 40);
    assert_eq!(style_of(&buffer, "TCP 10.0.0.1:80").1, Modifier::REVERSED, "the cursor");
}

#[test]
fn every_size_can_be_drawn() {
    for view in [View::Services, View::Servers, View::Service("tcp:192.0.2.1:443".parse().expect("a key"))] {
        let mut model = model(view, 40);
        press(&mut model, &[Press::End]);
        for width in (1..40).chain([60, 79, 80, 81, 100, 200]) {
            for height in 1..20 {
                draw(&mut model, width, height);
            }
        }
        press(&mut model, &[Press::Char('?')]);
        (1..20).for_each(|size| drop(draw(&mut model, size, size)));
    }
}

#[test]
fn plain_text() {
    for (name, view, width) in [
        ("once-pipe.txt", View::Services, None),
        ("once-80.txt", View::Services, Some(80)),
        ("once-servers-80.txt", View::Servers, Some(80)),
    ] {
        let mut model = model(view, 3);
        press(&mut model, &[Press::Char('c')]);
        let mut out = Vec::new();
        let table = plain::Table::new(&model.sample, view, &model.rows, usize::MAX);
        table.write_text(&mut out, width, &Palette::default()).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert!(width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width)), "{text}");
        check(name, &text);
    }
}

#[test]
fn json_lines() {
    let model = model(View::Services, 3);
    let json = |sample, view| -> serde_json::Value {
        let rows = rows::rows(sample, view, &model.selected);
        let mut out = Vec::new();
        plain::Table::new(sample, view, &rows, 7).write_json(&mut out).expect("written");
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&out).expect("JSON")
    };
    let services = json(&model.sample, View::Services);
    assert_eq!((&services["schema"], &services["time"]), (&1.into(), &"2026-11-27T16:00:57Z".into()));
    let web = &services["services"][0];
    assert_eq!((&web["service"]["port"], &web["servers_up"], &web["servers"]), (&80.into(), &2.into(), &3.into()));
    assert_eq!((&web["per_second"]["connections"], &web["syn_recv"]), (&12.5.into(), &2.into()));
    assert_eq!((&web["problem"], &services["total"]["syn_recv"]), (&"draining".into(), &24.into()));
    assert_eq!((services.get("servers"), services.get("states_not_read")), (None, None));
    assert_eq!(services["omitted"], 0);
    let servers = json(&sample_of_many_connections(), View::Servers);
    assert_eq!(
        (&servers["servers"][0]["syn_recv"], servers["servers"].as_array().map(Vec::len)),
        (&().into(), Some(7))
    );
    assert_eq!(servers["states_not_read"], "123456 entries, limit 20000");
    assert_eq!(servers["omitted"], 0);
}

#[test]
fn sums_include_omitted_rows() {
    let model = model(View::Services, 3);
    let rows = rows::rows(&model.sample, View::Services, &model.selected);
    let table = plain::Table::new(&model.sample, View::Services, &rows, 2);
    let mut out = Vec::new();
    table.write_json(&mut out).expect("written");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!((json["services"].as_array().map(Vec::len), &json["omitted"]), (Some(2), &3.into()));
    assert_eq!(json["total"]["active_connections"], 5045);
    let mut out = Vec::new();
    table.write_text(&mut out, Some(80), &Palette::default()).expect("written");
    let text = String::from_utf8(out).expect("text");
    assert!(text.contains("\n5 services, 7 servers: 3 problems\n5045 active, "), "{text}");
    assert!(text.ends_with("\n3 services omitted\n"), "{text}");
}
