//! Saved plans: `ipvsadm-rs plan -o`, and `apply` with the file.

use ipvs_tests::command::{ok, run, shell};

use super::{WEB, director, rules, write};

ipvs_tests::tests! {
    is_applied_while_the_table_is_the_same;
    is_refused_after_another_change;
    options_are_saved_with_the_plan;
    is_written_to_standard_output;
    damaged_plan_changes_nothing;
}

fn wanted() -> String {
    WEB.replace("-w 3", "-w 5")
}

fn is_applied_while_the_table_is_the_same() {
    director(WEB);
    write("wanted", &wanted());
    let made = run("ipvsadm-rs plan wanted -o saved");
    assert_eq!((made.code, made.stdout.as_str()), (Some(2), "-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5\n"), "{made}");
    let saved: serde_json::Value = serde_json::from_str(&ok("cat saved")).unwrap();
    assert_eq!(saved["changes"], serde_json::json!(["-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5"]));
    // Counters are not part of the table, and the file of the wanted table is not read again.
    write("wanted", "");
    let shown = run("ipvsadm-rs plan saved");
    assert_eq!((shown.code, shown.stdout), (Some(2), made.stdout));
    assert_eq!(run("ipvsadm-rs apply saved --dry-run").code, Some(2));
    let applied = ok("ipvsadm-rs apply saved");
    assert!(applied.starts_with("~ -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 5  # was -w 3\n"), "{applied}");
    assert_eq!(rules(), wanted());
    // The plan has been made: its table is gone.
    assert_eq!(run("ipvsadm-rs apply saved").code, Some(1));
    ok("ipvsadm-rs undo");
    ok("ipvsadm-rs apply saved");
    assert_eq!(rules(), wanted());
}

/// Once, `apply` deleted the server that was added after `plan`.
fn is_refused_after_another_change() {
    director(WEB);
    write("wanted", &wanted());
    run("ipvsadm-rs plan wanted -o saved");
    ok("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.9 -m -w 1");
    let now = rules();
    for line in ["plan saved", "apply saved"] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert!(ran.stderr.starts_with("error: the table has changed since the plan was made, at 20"), "{ran}");
        let rest = "Z: 1 change\n  -a -t 192.0.2.1:80 -r 10.0.0.9:80 -m -w 1\nRun `ipvsadm-rs plan` again.\n";
        assert!(ran.stderr.ends_with(rest), "{ran}");
    }
    assert_eq!(rules(), now);
    ok("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.9");
    ok("ipvsadm-rs apply saved");
    assert_eq!(rules(), wanted());
}

fn options_are_saved_with_the_plan() {
    director(&format!("{WEB}-A -f 7 -s rr\n"));
    write("wanted", &WEB.replace("wrr", "wlc").replace("-w 3", "-w 9"));
    run("ipvsadm-rs plan wanted -o saved --only tcp --keep-weights");
    for option in ["--only udp", "--protect udp", "--listed-only", "--keep-weights", "--reorder", "--format json"] {
        let ran = run(&format!("ipvsadm-rs apply saved {option}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        let name = option.split(' ').next().unwrap();
        let error = format!("error: saved is a saved plan: {name} cannot be changed\n");
        assert!(ran.stderr.starts_with(&error), "{ran}");
    }
    // Neither is in the scope of the plan.
    ok("ipvsadm -A -u 192.0.2.1:53 -s rr");
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 4");
    ok("ipvsadm-rs apply saved");
    let left = WEB.replace("wrr", "wlc").replace("-w 3", "-w 4");
    assert_eq!(rules(), format!("{left}-A -u 192.0.2.1:53 -s rr\n-A -f 7 -s rr\n"));
}

fn is_written_to_standard_output() {
    director(WEB);
    write("wanted", &wanted());
    let piped = shell("ipvsadm-rs plan wanted -o - 2> remarks | ipvsadm-rs apply -");
    assert_eq!(piped.code, Some(0), "{piped}");
    assert!(ok("cat remarks").ends_with("1 change: 0 to add, 1 to edit, 0 to delete; no connections dropped\n"));
    assert_eq!(rules(), wanted());
}

fn damaged_plan_changes_nothing() {
    director(WEB);
    write("wanted", &wanted());
    run("ipvsadm-rs plan wanted -o saved");
    shell("head -c 300 saved > half; sed 's/\"port\": 80,/\"port\": 99999,/' saved > bad").ok();
    shell("sed 's/\"saved_plan\": 1/\"saved_plan\": 9/' saved > newer").ok();
    for file in ["half", "bad", "newer"] {
        let ran = run(&format!("ipvsadm-rs apply {file}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran}");
        assert!(ran.stderr.starts_with(&format!("error: {file}: ")), "{ran}");
        assert!(ran.stderr.contains("saved plan"), "{ran}");
    }
    assert_eq!(rules(), WEB);
}
