//! Arguments that people try.

use ipvs_tests::command::{ok, run};

use crate::under_test;

ipvs_tests::tests! {
    prints_the_version;
    help_names_the_help_of_verbs;
    unknown_verbs_have_suggestions;
    durations_have_units;
    options_that_a_verb_does_not_use;
}

fn prints_the_version() {
    under_test::install();
    let version = ok("ipvsadm-rs -V");
    assert!(version.starts_with("ipvsadm-rs "), "{version}");
    assert_eq!(version, ok("ipvsadm-rs --version"));
    // ipvsadm 1.31 has no such option.
    assert_eq!(run("ipvsadm -V").code, Some(255));
}

fn help_names_the_help_of_verbs() {
    under_test::install();
    let help = ok("ipvsadm-rs --help").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("`ipvsadm-rs VERB --help` prints the help of a verb"), "{help}");
    assert!(!help.contains("summary with '-h'"), "-h is that of ipvsadm: {help}");
    let plan = ok("ipvsadm-rs plan --help");
    assert!(plan.contains("Examples:\n  ipvsadm-rs plan rules\n"), "{plan}");
}

fn unknown_verbs_have_suggestions() {
    under_test::install();
    for (verb, meant) in [("list", "'show'"), ("status", "'show'"), ("delete", "-D (a service)"), ("pln", "'plan'")] {
        let ran = run(&format!("ipvsadm-rs {verb}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(meant), "{ran}");
    }
}

fn durations_have_units() {
    under_test::install();
    for (duration, why) in
        [("0s", "must be longer than 0"), ("abc", "not a duration, such as 30s or 5m"), ("40d", "longer than 30 days")]
    {
        let ran = run(&format!("ipvsadm-rs apply rules --confirm-within {duration}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains(why), "{ran}");
    }
}

fn options_that_a_verb_does_not_use() {
    under_test::install();
    for line in ["check --state-dir s /dev/null", "--state-dir s check /dev/null", "plan --lock-timeout 1s /dev/null"] {
        let ran = run(&format!("ipvsadm-rs {line}"));
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.contains("does not use --"), "{ran}");
    }
}
