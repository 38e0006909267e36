use super::*;

fn words(program: &str, line: &str) -> Vec<String> {
    let words = line.split(' ').map(OsString::from).collect();
    complete(program, words, crate::verbs::command()).candidates.into_iter().map(|candidate| candidate.word).collect()
}

#[test]
fn offers_all_verbs_but_no_hidden_ones() {
    let command = crate::verbs::command();
    let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name().to_owned());
    let mut visible: Vec<String> = visible.chain(["help".to_owned()]).collect();
    let mut offered = words("ipvsadm-rs", "");
    visible.sort();
    offered.sort();
    assert_eq!(offered, visible);
    assert_eq!(words("ipvsadm-rs", "roll"), Vec::<String>::new());
}

#[test]
fn offers_the_options_that_a_command_of_ipvsadm_accepts() {
    assert!(words("ipvsadm", "").contains(&"--add-service".to_owned()));
    assert!(!words("ipvsadm", "-").contains(&"-t".to_owned()), "an option before the command");
    let of_list = words("ipvsadm-rs", "-L -");
    assert!(of_list.contains(&"-n".to_owned()) && !of_list.contains(&"-w".to_owned()), "{of_list:?}");
    assert!(words("ipvsadm-rs", "-a -t 192.0.2.1:80 -").contains(&"-w".to_owned()));
    assert!(words("ipvsadm-rs", "-L").contains(&"-Ln".to_owned()));
}

#[test]
fn files_are_completed_only_where_a_file_is_expected() {
    let paths = |line: &str| {
        let words = line.split(' ').map(OsString::from).collect();
        complete("ipvsadm-rs", words, crate::verbs::command()).paths
    };
    for line in ["plan ", "apply x", "check ./", "save -o ", "apply x --previous ", "apply x --previous=y"] {
        assert_eq!(paths(line), Some(Paths::Files), "{line}");
    }
    assert_eq!(paths("plan --state-dir "), Some(Paths::Directories));
    assert_eq!(paths("plan --netns /proc/1/"), Some(Paths::Files));
    for line in ["", "plan x ", "plan --color ", "plan --color=", "plan --json", "show ", "set -s ", "undo "] {
        assert_eq!(paths(line), None, "{line}");
    }
}

#[test]
fn values_of_options_are_found() {
    let value = |line: &str, long, short| {
        let line = Line::new(line.split(' ').map(OsString::from).collect());
        line.value_of(long, short).map(|value| value.to_str().expect("UTF-8").to_owned())
    };
    for line in ["-t x ", "-At x ", "-tx ", "--tcp-service x ", "--tcp-service=x ", "set -r y -t x "] {
        assert_eq!(value(line, "tcp-service", Some('t')).as_deref(), Some("x"), "{line}");
    }
    for line in ["-t", "-u x ", "--tcp-services x ", "t x "] {
        assert_eq!(value(line, "tcp-service", Some('t')), None, "{line}");
    }
}
