use super::*;
use crate::convert::NoteKind;
use crate::rules::{Numeric, write_config};

#[track_caller]
fn rules(text: &str) -> String {
    let converted = read("f", text.as_bytes(), &mut Numeric).unwrap_or_else(|errors| panic!("{errors}"));
    let mut rules = Vec::new();
    write_config(&mut rules, &converted.config);
    String::from_utf8(rules).expect("ASCII")
}

#[track_caller]
fn errors(text: &str) -> Vec<String> {
    read("f", text.as_bytes(), &mut Numeric).expect_err("errors").iter().map(ToString::to_string).collect()
}

#[test]
fn services_and_servers() {
    let text = "\
checktimeout=3
fallback = 127.0.0.1:80
virtual = 192.0.2.1:80 # web
\treal=10.0.0.1->10.0.0.2:8080 masq 3 \"/index.html\", \"Test 5\" l:10 u:20
\treal=10.0.0.3 gate # comment
        scheduler=sh
\tschedflags=sh-port
\tpersistent=600
\tnetmask=255.255.255.0
virtual=7
\treal=10.0.0.1 ipip
virtual6=[2001:db8::1]:53
\treal6=[2001:db8::2]:53 masq
\tops=yes
\tchecktype=on
";
    assert_eq!(
        rules(text),
        "-A -t 192.0.2.1:80 -s sh -p 600 -M 255.255.255.0 -b sh-port\n\
         -a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 20 -y 10\n\
         -a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 3 -x 20 -y 10\n\
         -a -t 192.0.2.1:80 -r 10.0.0.3:80 -g -w 1\n\
         -A -f 7 -s wrr\n\
         -a -f 7 -r 10.0.0.1:0 -i -w 1 --tun-type ipip\n\
         -A -u [2001:db8::1]:53 -s wrr -o\n\
         -a -u [2001:db8::1]:53 -r [2001:db8::2]:53 -m -w 1\n"
    );
    let converted = read("f", text.as_bytes(), &mut Numeric).expect("reads");
    let checked: Vec<usize> = converted.managed.iter().map(|managed| managed.checked.len()).collect();
    assert_eq!(checked, [3, 0, 0]);
    let fallback = converted.managed[0].fallback.expect("the global one");
    assert_eq!((fallback.to_string().as_str(), converted.managed[1].fallback), ("-r 127.0.0.1:80 -g -w 1", None));
    let left: Vec<&str> =
        converted.notes.iter().filter(|note| note.kind == NoteKind::Left).map(|note| &*note.text).collect();
    assert_eq!(left, ["checktimeout", "fallback", "request and receive of a server", "checktype"]);
}

#[test]
fn services_without_checks() {
    let text =
        "quiescent=yes\nvirtual=192.0.2.1:80\n\treal=10.0.0.1:80 masq\n\tfallback=127.0.0.1:80\n\tchecktype=off\n";
    assert_eq!(
        rules(text),
        "-A -t 192.0.2.1:80 -s wrr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0\n-a -t 192.0.2.1:80 -r 127.0.0.1:80 -g -w 1\n"
    );
}

#[test]
fn errors_have_positions() {
    let section = |lines: &str| format!("virtual=192.0.2.1:80\n{lines}\n");
    for (text, expected) in [
        ("checktimeot=3\n", "f:1:1: unknown directive `checktimeot'"),
        ("checktimeout = 0\n", "f:1:16: `checktimeout' needs a number greater than 0"),
        ("quiescent=yes \n", "f:1:11: `quiescent' needs yes or no, without blanks after it"),
        (&section("\tcheckporrt=1"), "f:2:2: unknown directive `checkporrt' of a virtual service"),
        (&section("\treal=10.0.0.1:80"), "f:2:7: a server needs one of gate, masq, ipip"),
        (&section("\treal=192.168.6.2::5060 gate"), "f:2:7: `:5060' is not a port or the name of a port"),
        (&section("\treal=10.0.0.9->10.0.0.1:80 gate"), "f:2:7: `10.0.0.9->10.0.0.1:80' ends before it starts"),
        (&section("\treal=10.0.0.1:80 gate 1 x"), "f:2:7: `x' is not a setting of a server"),
        (
            &section("\treal=10.0.0.1:80 gate\n\treal=10.0.0.1:80 gate"),
            "f:3:7: 10.0.0.1:80 is already a server of this service",
        ),
        (&section("\treal=web1:80 gate"), "f:2:7: web1: no such host"),
        (&section("\treal6=[::1]:80 gate"), "f:2:2: a section of `virtual' needs `real'"),
        (&section("\tprotocol=sctp"), "f:2:11: the protocol of a service by address is tcp or udp"),
        (&section("\trequest=\"a#b\""), "f:2:10: `request' needs a text in double quotes"),
        (
            &section("\n\treal=10.0.0.1:80 gate"),
            "f:3:2: an indented line must follow its `virtual' by at least 4 blanks, without an empty line between",
        ),
        (
            &section("\tpersistent=0"),
            "f:1:1: ipvsadm refuses the service or server: invalid timeout value `0' specified: not a number from 1 to 2678400",
        ),
        ("virtual=1\nvirtual=1\n", "f:2:1: FWM 1 is already a virtual service at f:1:1"),
        ("virtual=192.0.2.1\n", "f:1:9: a service by address needs a port"),
    ] {
        let errors = errors(text);
        assert_eq!(errors[0], expected, "{text}: {errors:?}");
    }
    assert_eq!(errors("a=1\nb=1\n\nc\n").len(), 3);
}
