//! Tests of the state: keys and samples.

use std::rc::Rc;

use termion::event::Key as Press;

use super::assessments::Assessments;
use super::model::{Action, Model};
use super::reading::{Reading, Sample, States};
use super::rows::{Item, Key, View};
use super::testing::{model, sample, selected};

fn names(model: &Model) -> Vec<String> {
    model.rows.iter().map(|row| row.item.name()).collect()
}

fn cursor(model: &Model) -> String {
    model.cursor.map(|item| item.name()).unwrap_or_default()
}

fn press(model: &mut Model, keys: &str) -> Action {
    keys.chars().map(|key| model.press(Press::Char(key))).last().expect("a key")
}

#[test]
fn letters_sort() {
    let mut model = model(View::Services, 3);
    assert_eq!((model.sort, names(&model)[0].as_str()), (Key::Rate, "TCP 10.0.0.1:80"));
    press(&mut model, "b");
    assert_eq!((model.sort, names(&model)[0].as_str()), (Key::Bits, "TCP 192.0.2.1:443"));
    press(&mut model, "r");
    assert_eq!(names(&model)[4], "TCP 192.0.2.1:443");
    press(&mut model, "x");
    assert_eq!(model.sort, Key::Bits, "no key");
}

#[test]
fn the_cursor_follows_its_item() {
    let mut model = model(View::Services, 3);
    model.set_page(2);
    assert_eq!(cursor(&model), "");
    model.press(Press::Down);
    assert_eq!(cursor(&model), "TCP 10.0.0.1:80");
    press(&mut model, "b");
    assert_eq!(cursor(&model), "TCP 10.0.0.1:80");
    model.press(Press::End);
    assert_eq!((model.offset, model.row().is_some()), (3, true));
    model.press(Press::Home);
    assert_eq!((model.offset, cursor(&model)), (0, "TCP 192.0.2.1:443".into()));
    model.press(Press::Up);
    assert_eq!(cursor(&model), "TCP 192.0.2.1:443");
    model.press(Press::PageDown);
    assert_eq!(model.offset, 1);
    // The item is deleted.
    model.press(Press::Home);
    let mut next = sample();
    next.reading.state.services.retain(|service| service.service.key.to_string() != "TCP 192.0.2.1:443");
    model.add(next);
    assert_eq!((cursor(&model), model.rows.len()), ("TCP 10.0.0.1:80".into(), 4));
    // Everything is deleted.
    let mut next = sample();
    next.reading.state.services.clear();
    model.add(next);
    assert_eq!((cursor(&model), model.rows.len(), model.offset), (String::new(), 0, 0));
    assert_eq!(press(&mut model, "jkd\n"), Action::Nothing);
}

#[test]
fn services_are_opened() {
    let mut model = model(View::Services, 3);
    press(&mut model, "nj\n");
    let web = "tcp:10.0.0.1:80".parse().expect("a key");
    assert_eq!((model.view, model.opened().is_some()), (View::Service(web), true));
    assert_eq!(names(&model), ["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"]);
    press(&mut model, "j");
    model.press(Press::Esc);
    assert_eq!((model.view, cursor(&model)), (View::Services, "TCP 10.0.0.1:80".into()));
    // From the list of servers, the server stays selected.
    press(&mut model, "\tj\n");
    assert_eq!((model.view, cursor(&model)), (View::Service(web), "10.1.0.1:8080".into()));
    model.press(Press::Left);
    assert_eq!(model.view, View::Servers);
    press(&mut model, "\t");
    assert_eq!((model.view, model.cursor), (View::Services, None));
    // The service is deleted while it is open.
    press(&mut model, "\n");
    let mut next = sample();
    next.reading.state.services.clear();
    model.add(next);
    assert!(model.opened().is_none() && model.rows.is_empty());
}

#[test]
fn the_filter_is_typed() {
    let mut model = model(View::Services, 3);
    press(&mut model, "/udp");
    assert_eq!((names(&model), model.is_typing), (vec!["UDP 10.0.0.1:53".to_owned()], true));
    assert_eq!(press(&mut model, "q\n"), Action::Nothing, "a letter of the filter");
    assert_eq!((model.filter.as_str(), model.is_typing, model.rows.len()), ("udpq", false, 0));
    model.press(Press::Esc);
    assert_eq!((model.filter.as_str(), model.rows.len()), ("", 5));
    // The address of a server selects its services.
    press(&mut model, "/10.1.0.1:");
    assert_eq!(names(&model), ["TCP 10.0.0.1:80", "UDP 10.0.0.1:53"]);
    model.press(Press::Backspace);
    model.press(Press::Ctrl('u'));
    assert_eq!((model.filter.as_str(), model.rows.len()), ("", 5));
    press(&mut model, "\n!");
    assert!(model.rows.iter().all(|row| row.is_problem()));
}

#[test]
fn a_frozen_screen_does_not_change() {
    let mut model = model(View::Services, 3);
    let shown = Rc::clone(&model.sample);
    press(&mut model, " ");
    model.add(sample());
    assert!(Rc::ptr_eq(&shown, &model.sample));
    assert_eq!(model.history.of(None, Key::Rate).len(), 4, "the history continues");
    press(&mut model, " ");
    assert!(!Rc::ptr_eq(&shown, &model.sample));
}

#[test]
fn only_what_is_selected_is_drained() {
    let mut model = model(View::Services, 3);
    assert_eq!(press(&mut model, "d"), Action::Nothing);
    assert!(model.message.is_some());
    assert_eq!(press(&mut model, "nj"), Action::Nothing);
    let web = "tcp:10.0.0.1:80".parse().expect("a key");
    assert_eq!(press(&mut model, "d"), Action::Drain(Item::Service(web)));
    press(&mut model, "\nj");
    let server = ([10, 1, 0, 1], 8080).into();
    assert_eq!(press(&mut model, "d"), Action::Drain(Item::Server(web, server)));
    model.press(Press::Esc);
    model.press(Press::End);
    assert_eq!(press(&mut model, "d"), Action::Nothing, "a service without servers");
    assert_eq!(model.message.as_deref(), Some("this service has no servers"));
}

#[test]
fn the_program_ends_by_keys() {
    let mut model = model(View::Services, 3);
    assert_eq!(press(&mut model, "?q"), Action::Nothing, "closes the help");
    assert_eq!(press(&mut model, "q"), Action::Quit);
    press(&mut model, "/");
    assert_eq!(model.press(Press::Ctrl('c')), Action::Quit);
    model.press(Press::Esc);
    assert_eq!(model.press(Press::Ctrl('z')), Action::Suspend);
}

/// The total is that of the services or servers that the command line selects.
#[test]
fn the_history_is_that_of_the_selection() {
    for (options, total) in [(&["udp"][..], 8.0), (&["--server", "10.1.0.2"], 5.0), (&[], 28.0)] {
        let mut model = model(View::Services, 0);
        model.selected = selected(options);
        model.add(sample());
        assert_eq!(model.history.of(None, Key::Rate), [total], "{options:?}");
    }
}

/// The history has a limit, and no services that were deleted.
#[test]
fn the_history_is_limited() {
    let mut model = model(View::Services, 3);
    let web = "tcp:10.0.0.1:80".parse().expect("a key");
    assert_eq!(model.history.of(Some(&web), Key::Rate), [12.5, 10.0, 7.5]);
    assert_eq!(model.history.of(None, Key::Rate), [28.0, 22.5, 16.0]);
    (0..200).for_each(|_| model.add(sample()));
    assert_eq!(model.history.of(Some(&web), Key::Bits).len(), 150);
    let empty = Reading { state: ipvs::State::default(), states: States::TooMany(0), ..sample().into_reading() };
    model.add(Sample::new(empty, Some(&sample().reading), &mut Assessments::default()));
    assert!(model.history.of(Some(&web), Key::Rate).is_empty());
}
