//! `ipvsadm-rs apply --confirm-within` and `ipvsadm-rs confirm`

use std::time::Duration;

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::wait;

use super::{WEB, director, rules, write};

ipvs_tests::tests! {
    what_is_not_confirmed_is_put_back;
    what_is_confirmed_stays;
    the_loss_of_the_terminal_changes_nothing;
    what_was_refused_does_not_wait;
    nothing_waits;
}

fn put_back() {
    wait::until(Duration::from_secs(10), || if rules() == WEB { Ok(()) } else { Err(rules()) });
}

fn what_is_not_confirmed_is_put_back() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    let ran = run("ipvsadm-rs apply wanted --confirm-within 1s");
    assert_eq!(ran.stderr, "all is put back in 1s unless `ipvsadm-rs confirm' is given before\n", "{ran}");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    put_back();
    wait::until(Duration::from_secs(5), || {
        let list = ok("ipvsadm-rs undo --list");
        if list.contains("not confirmed, put back") { Ok(()) } else { Err(list) }
    });
    assert_eq!(run("ipvsadm-rs confirm").stderr, "ipvsadm-rs: nothing waits for confirmation\n");
}

fn what_is_confirmed_stays() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs apply wanted --confirm-within 1s");
    assert_eq!(ok("ipvsadm-rs confirm"), "plan 1 stays\n");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    ok("ipvsadm-rs undo");
    assert_eq!(rules(), WEB);
}

fn the_loss_of_the_terminal_changes_nothing() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "wlc"));
    // The terminal that script(1) makes is gone when the command has ended, and its session gets a SIGHUP.
    shell("script -qec 'ipvsadm-rs apply wanted --confirm-within 1s' /dev/null < /dev/null");
    assert_eq!(rules(), WEB.replace("wrr", "wlc"));
    put_back();
}

fn what_was_refused_does_not_wait() {
    director(WEB);
    write("wanted", &WEB.replace("wrr", "nosuch"));
    assert_eq!(run("ipvsadm-rs apply wanted --confirm-within 60s").code, Some(1));
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1), "nothing waits");
    assert!(ok("ipvsadm-rs undo --list").contains("refused, put back"));
}

fn nothing_waits() {
    director(WEB);
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1));
    write("wanted", WEB);
    assert_eq!(ok("ipvsadm-rs apply wanted --confirm-within 60s"), "nothing to change\n");
    assert_eq!(run("ipvsadm-rs confirm").code, Some(1), "nothing was changed");
}
