use std::fs;

use crate::file::testing::Place;
use crate::store::StoreArguments;
use crate::store::testing::{Server, next, open, shown, step};

fn index(index: u64) -> String {
    format!("200 OK\r\nX-Consul-Index: {index}")
}

/// The values are `one` and `two`.
const ONE: &str = r#"[{"Key":"lvs/web","Value":"b25l","ModifyIndex":7,"Flags":0}]"#;
const TWO: &str = r#"[{"Key":"lvs/web","Value":"dHdv","ModifyIndex":9}]"#;

#[test]
fn blocking_queries() {
    let server = Server::start(vec![
        step(&["GET /v1/kv/lvs/web?recurse HTTP"], &index(7), ONE),
        step(&["?recurse&index=7&wait=1000ms HTTP"], &index(7), ONE),
        // Woken without a change.
        step(&["index=7"], &index(8), ONE),
        step(&["index=8"], &index(9), TWO),
        // The index goes back.
        step(&["index=9"], &index(3), TWO),
        step(&["?recurse HTTP"], &index(3), ONE),
        step(&["index=3"], "500 Error", "No cluster leader"),
        step(&["?recurse HTTP"], &index(0), ONE),
        step(&["index=1&"], "404 Not Found\r\nX-Consul-Index: 12", ""),
        step(&["index=12&"], "404 Not Found", ""),
        step(&["?recurse HTTP"], &index(13), TWO),
    ]);
    let name = format!("consul://{}/lvs/web", server.address);
    let mut consul = open(&name, &StoreArguments::default());
    let mut next = || next(consul.as_mut());
    assert_eq!(next(), "7: lvs/web=one");
    assert_eq!(next(), "-");
    assert_eq!(next(), "-");
    assert_eq!(next(), "9: lvs/web=two");
    assert_eq!(next(), "-");
    assert_eq!(next(), "7: lvs/web=one");
    assert_eq!(next(), format!("cannot read {name}: status 500: No cluster leader"));
    assert_eq!(next(), "-");
    assert_eq!(next(), "0:");
    assert_eq!(next(), format!("cannot read {name}: the response has no X-Consul-Index"));
    assert_eq!(next(), "9: lvs/web=two");
    server.end();
}

#[test]
fn keys_below_and_not_next_to_the_key() {
    let body = r#"[
        {"Key":"lvs/website","Value":"b25l","ModifyIndex":99},
        {"Key":"lvs/web/","Value":null,"ModifyIndex":99},
        {"Key":"lvs/web/b","Value":null,"ModifyIndex":5},
        {"Key":"lvs/web/a","Value":"b25l","ModifyIndex":6}
    ]"#;
    let server = Server::start(vec![step(&[], &index(100), body)]);
    let mut consul = open(&format!("consul://{}/lvs/web", server.address), &StoreArguments::default());
    assert_eq!(shown(&consul.read().expect("documents")), "6: lvs/web/a=one lvs/web/b=");
    server.end();
}

#[test]
fn invalid_responses() {
    let deep = "[".repeat(50_000);
    let long = format!("[{}]", "0".repeat(100_000));
    let bodies: &[(&str, &str)] = &[
        ("", "the response is not a list of keys"),
        ("{}", "the response is not a list of keys"),
        (&deep, "the response is not a list of keys"),
        (&long, "the input is longer than 100000 bytes"),
        (r#"[{"Key":"lvs/web/\u001b","Value":"?","ModifyIndex":1}]"#, r"the value of lvs/web/\x1b is not valid base64"),
        (r#"[{"Key":"lvs/web","Value":"b25l","ModifyIndex":-1}]"#, "the response is not a list of keys"),
    ];
    let server = Server::start(bodies.iter().map(|(body, _)| step(&[], &index(1), body)).collect());
    let mut consul = open(&format!("consul://{}/lvs/web", server.address), &StoreArguments::default());
    for (body, reason) in bodies {
        let error = next(consul.as_mut());
        assert!(error.contains(reason), "{}: {error}", &body[..body.len().min(80)]);
    }
    server.end();
}

#[test]
fn another_server_is_used_until_it_fails() {
    let place = Place::new("consul-failover");
    let token = place.path().join("token");
    fs::write(&token, "secret\n").expect("write");
    let first = Server::start(vec![
        step(&["X-Consul-Token: secret"], "503 Unavailable", "restarting"),
        step(&["PUT /v1/kv/lvs/reports/lb1 HTTP", "X-Consul-Token: secret", "state"], "200 OK", "true\n"),
        step(&["PUT /v1/kv/lvs/reports/lb1 HTTP"], "200 OK", "false\n"),
    ]);
    let second = Server::start(vec![
        step(&["X-Consul-Token: secret"], &index(1), ONE),
        step(&[], &index(1), ONE),
        step(&["PUT"], "403 Forbidden", "Permission denied"),
        step(&["PUT"], "403 Forbidden", "Permission denied"),
    ]);
    let arguments = StoreArguments { token_file: Some(token), ..StoreArguments::default() };
    let mut consul = open(&format!("consul://{},{}/lvs/reports", first.address, second.address), &arguments);
    consul.read().expect("the second server");
    consul.read().expect("the second server");
    consul.write("lb1", b"state").expect("the first server");
    let error = format!("{:#}", consul.write("lb1", b"state").expect_err("refused"));
    let expected = format!(
        "no server can be used\n  {}: status 200: false\n  {}: status 403: Permission denied",
        first.address, second.address
    );
    assert!(error.ends_with(&expected), "{error}");
    first.end();
    second.end();
}

#[test]
fn all_servers_fail_for_one_reason() {
    let servers = [(), ()].map(|()| Server::start(vec![step(&[], "403 Forbidden", "Permission denied")]));
    let name = format!("consul://{},{}/lvs", servers[0].address, servers[1].address);
    let error = next(open(&name, &StoreArguments::default()).as_mut());
    assert_eq!(error, format!("cannot read {name}: status 403: Permission denied (all servers)"));
    servers.into_iter().for_each(Server::end);
}
