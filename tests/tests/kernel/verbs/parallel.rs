//! Many commands at once on one table. `IPVS_PARALLEL` is their number (default 200).

use std::fmt::Write as _;
use std::time::Duration;

use ipvs_tests::command::{ok, start};
use ipvs_tests::property::number;
use ipvs_tests::wait;

use super::{director, rules, write};

ipvs_tests::tests! {
    commands_at_once_all_arrive, seconds = 300;
}

/// A quarter each of `set`, `-A`, `-a` and `apply`. Each changes one service or server of its own. All must be in the
/// table at the end, and the table must not be locked.
fn commands_at_once_all_arrive() {
    const PORT: u64 = 1000;
    let quarter = number("IPVS_PARALLEL", 200) / 4;
    let mut shared = "-A -t 192.0.2.1:80 -s wrr\n".to_owned();
    for server in 1..=quarter {
        writeln!(shared, "-a -t 192.0.2.1:80 -r 10.0.0.{server}:80 -m -w 1").unwrap();
    }
    director(&shared);
    let mut expected = Vec::new();
    let mut running = Vec::new();
    for number in 1..=quarter {
        let port = PORT + number;
        let applied =
            format!("-A -t 203.0.113.{number}:80 -s rr\n-a -t 203.0.113.{number}:80 -r 10.9.0.1:80 -m -w 4\n");
        write(&format!("file-{number}"), &applied);
        running.extend(
            [
                format!("ipvsadm-rs --lock-timeout 4m set -t 192.0.2.1:80 -r 10.0.0.{number}:80 --weight 7"),
                format!("ipvsadm -A -t 198.51.100.1:{port} -s rr"),
                format!("ipvsadm -a -t 192.0.2.1:80 -r 10.1.0.{number}:80 -m -w 3"),
                format!("ipvsadm-rs --lock-timeout 4m apply --only 203.0.113.{number} file-{number}"),
            ]
            .map(|line| (start(&line), line)),
        );
        expected.extend(applied.lines().map(str::to_owned));
        expected.push(format!("-a -t 192.0.2.1:80 -r 10.0.0.{number}:80 -m -w 7"));
        expected.push(format!("-A -t 198.51.100.1:{port} -s rr"));
        expected.push(format!("-a -t 192.0.2.1:80 -r 10.1.0.{number}:80 -m -w 3"));
    }
    let mut waits = 0;
    for (mut command, line) in running {
        wait::until(Duration::from_secs(240), || if command.is_running() { Err(line.clone()) } else { Ok(()) });
        let output = command.output();
        waits += u32::from(output.contains("waiting: "));
        assert!(!output.contains("cannot lock") && !output.contains("refused"), "# {line}\n{output}");
    }
    let table = rules();
    let mut found: Vec<&str> = table.lines().collect();
    expected.push("-A -t 192.0.2.1:80 -s wrr".into());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    println!("of {} commands, {waits} waited for the lock", 4 * quarter);
    // The lock is free.
    let output = ok("ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.1:80 --weight 9");
    assert!(!output.contains("waiting: "), "{output}");
}
