//! Control bytes in names, files, arguments and packets, on their way to a terminal.


use ipvs_tests::command::{run, shell};

use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    medium_7_line_break_in_a_document_changes_no_other_service;
}

fn medium_7_line_break_in_a_document_changes_no_other_service() {
    director(WEB);
    write(
        "forged.json",
        r#"{"services": [{"protocol": "tcp", "address": "198.51.100.1", "port": 80, "scheduler": "rr\n-C"}]}"#,
    );
    write(
        "forged.toml",
        "[[services]]\nprotocol = \"udp\"\naddress = \"198.51.100.1\"\nport = 53\npersistence = 60\nengine = \"sip\\n-C\"\n",
    );
    write("interface.toml", "[[daemons]]\nrole = \"backup\"\ninterface = \"lo\\n-C\"\n");
    write("blank.toml", "[[services]]\nfwmark = 1\nscheduler = \"rr -p 60\"\n");
    for file in ["forged.json", "forged.toml", "interface.toml", "blank.toml"] {
        shell(&format!("ipvsadm-rs plan {file} --only 198.51.100.0/24 --only fwmark | ipvsadm -R"));
        assert_eq!(rules(), WEB, "{file}");
        let checked = run(&format!("ipvsadm-rs check {file}"));
        assert_eq!(checked.code, Some(2), "{checked}");
        let error = checked.stderr.lines().next().unwrap();
        assert!(error.ends_with(" contains blanks or control characters"), "{checked}");
        assert!(error.starts_with(&format!("{file}:1:")), "{checked}");
        assert_eq!(run(&format!("ipvsadm-rs apply {file} --allow-empty")).code, Some(1));
        assert_eq!(rules(), WEB, "{file}");
    }
}
