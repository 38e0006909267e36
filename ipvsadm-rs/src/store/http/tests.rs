use std::fs;
use std::time::Duration;

use crate::file::testing::Place;
use crate::store::StoreArguments;
use crate::store::testing::{Server, next, open, raw, shown, step, stream};

fn every_request() -> StoreArguments {
    StoreArguments { interval: Duration::ZERO, ..StoreArguments::default() }
}

#[test]
fn a_page_is_requested_again_by_its_etag() {
    let server = Server::start(vec![
        step(&["GET /web HTTP", "!if-"], "200 OK\r\nETag: \"a\"\r\nLast-Modified: yesterday", "one"),
        step(&["If-None-Match: \"a\"", "If-Modified-Since: yesterday"], "304 Not Modified", ""),
        step(&["If-None-Match: \"a\""], "200 OK\r\nETag: \"b\"", "one"),
        step(&["If-None-Match: \"b\"", "!if-modified"], "200 OK\r\nETag: \"c\"", "two"),
        step(&["If-None-Match: \"c\""], "503 Unavailable", "try\x1blater\n"),
        step(&["If-None-Match: \"c\""], "304 Not Modified", ""),
        step(&["If-None-Match: \"c\""], "404 Not Found\r\nETag: \"d\"", "nothing"),
        step(&["!if-"], "304 Not Modified", ""),
        step(&["!if-"], "200 OK", "three"),
    ]);
    let url = format!("http://{}/web", server.address);
    let mut page = open(&url, &every_request());
    let mut next = || next(page.as_mut());
    assert_eq!(next(), format!("\"a\": {url}=one"));
    assert_eq!(next(), "-");
    assert_eq!(next(), "-");
    assert_eq!(next(), format!("\"c\": {url}=two"));
    assert_eq!(next(), format!("cannot read {url}: status 503: try\\x1blater"));
    assert_eq!(next(), "-");
    assert_eq!(next(), "e3b0c44298fc1c14:");
    assert_eq!(next(), format!("cannot read {url}: status 304"));
    assert!(next().ends_with("=three"));
    server.end();
}

#[test]
fn the_interval_is_kept() {
    let server = Server::start(vec![step(&[], "200 OK", "one"), step(&[], "200 OK", "two")]);
    let arguments = StoreArguments { interval: Duration::from_millis(1500), ..StoreArguments::default() };
    let mut page = open(&format!("http://{}/", server.address), &arguments);
    assert!(next(page.as_mut()).ends_with("=one"));
    // The time of a call is one second.
    assert_eq!(next(page.as_mut()), "-");
    assert!(next(page.as_mut()).ends_with("=two"));
    server.end();
}

#[test]
fn redirects_are_limited_and_do_not_leak_passwords() {
    let place = Place::new("http-redirects");
    let token = place.path().join("token");
    fs::write(&token, "secret\n").expect("write");
    let other = Server::start(vec![step(&["GET /there HTTP", "!secret"], "200 OK", "one")]);
    let to_other = format!("302 Found\r\nLocation: http://{}/there", other.address);
    let mut steps = vec![
        step(&["GET / HTTP", "Authorization: Bearer secret"], "301 Moved\r\nLocation: /here", ""),
        step(&["GET /here HTTP", "Authorization: Bearer secret"], &to_other, ""),
    ];
    steps.extend((0..6).map(|_| step(&[], "302 Found\r\nLocation: /again", "")));
    steps.push(step(&[], "302 Found\r\nLocation: ftp://h/x", ""));
    steps.push(step(&[], "302 Found", ""));
    let server = Server::start(steps);
    let arguments = StoreArguments { token_file: Some(token), ..every_request() };
    let mut page = open(&format!("http://{}/", server.address), &arguments);
    let mut next = || next(page.as_mut());
    assert!(next().ends_with("=one"));
    assert!(next().ends_with("more than 5 redirects"));
    assert!(next().ends_with("invalid redirect: ftp://h/x is not a URL"));
    assert!(next().ends_with("status 302"));
    server.end();
    other.end();
}

#[test]
fn responses_are_limited() {
    let long = "x".repeat(100_001);
    let server = Server::start(vec![
        step(&[], "200 OK", &long),
        raw(&[], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        raw(&[], b"\x00\x01garbage\r\n\r\n"),
        raw(&[], b""),
        raw(&[], format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n").as_bytes()),
        stream(&[], &["one"], Duration::from_secs(5)),
    ]);
    let mut page = open(&format!("http://{}/", server.address), &every_request());
    let mut next = || next(page.as_mut());
    assert!(next().ends_with("the input is longer than 100000 bytes"));
    for number in 0..4 {
        let error = next();
        assert!(error.starts_with("cannot read http://127.0.0.1:"), "{number}: {error}");
        assert!(!error.contains('\0') && error.len() < 500, "{number}: {error}");
    }
    // The page is slow.
    assert!(next().ends_with("no complete response within 4s"));
    server.end();
}

#[test]
fn pages_are_written() {
    let place = Place::new("http-write");
    let user = place.path().join("user");
    fs::write(&user, "Aladdin:open sesame").expect("write");
    let server = Server::start(vec![
        step(
            &["PUT /reports/lb1 HTTP", "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "state"],
            "201 Created",
            "",
        ),
        step(&["PUT /reports/lb1 HTTP"], "403 Forbidden", "no"),
        step(&["GET /reports/ HTTP"], "200 OK", "list"),
    ]);
    let arguments = StoreArguments { user_file: Some(user), ..every_request() };
    let mut page = open(&format!("http://{}/reports/", server.address), &arguments);
    page.write("lb1", b"state").expect("written");
    let error = format!("{:#}", page.write("lb1", b"state").expect_err("forbidden"));
    assert!(error.ends_with("/reports/: status 403: no"), "{error}");
    page.write("../x", b"").expect_err("another directory");
    assert!(shown(&page.read().expect("a page")).ends_with("=list"));
    server.end();
}
