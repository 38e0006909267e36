//! The comparison of two directors.

use std::net::SocketAddr;

use serde_json::Value;

use super::farm::{Farm, clients, source_4};

ipvs_tests::tests! {
    two_directors;
    every_format;
    settings_that_differ;
}

const FOUR: [(&str, u32); 4] = [("10.2.0.11:80", 1), ("10.2.0.12:80", 3), ("10.2.0.13:80", 2), ("10.2.0.14:80", 2)];

/// The printed share is that of the clients that two directors send to different servers.
fn two_directors() {
    let (here, there) = (Farm::new(), Farm::new());
    let web = "-u 10.8.0.1:80";
    let reversed: Vec<_> = FOUR.into_iter().rev().collect();
    let vip: SocketAddr = "10.8.0.1:80".parse().unwrap();
    for (options, servers, round) in
        [("-s sh", &reversed[..], 0), ("-s mh", &reversed[..3], 1), ("-s sh", &FOUR[..], 2)]
    {
        here.table(web, options, &FOUR);
        there.table(web, options, servers);
        std::fs::write("there.json", there.director.ok("ipvsadm-rs show --json")).unwrap();
        let ran = here.director.run("ipvsadm-rs which --compare there.json --json");
        let compared: Value = serde_json::from_str(&ran.stdout).unwrap();
        let all: Vec<SocketAddr> = (0..clients(1000)).map(|n| SocketAddr::new(source_4(n), 20_000 + round)).collect();
        let (ours, theirs) = (here.ask(&all, |_| vip), there.ask(&all, |_| vip));
        let differ = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count() as f64;
        let (measured, printed) = (differ / all.len() as f64, compared["services"][0]["share"].as_f64().unwrap());
        assert!((measured - printed).abs() < 0.04, "{options}: measured {measured}, printed {printed}\n{ran}");
        let is_alike = servers == FOUR;
        assert_eq!(
            (compared["alike"].as_bool(), ran.code),
            (Some(is_alike), Some(if is_alike { 0 } else { 2 })),
            "{ran}"
        );
        assert_eq!(is_alike, ours == theirs);
    }
}

fn every_format() {
    let farm = Farm::new();
    farm.table("-t 10.8.0.1:80", "-s sh", &FOUR);
    farm.director.ok("ipvsadm -A -f 7 -s rr");
    let director = &farm.director;
    std::fs::write("show.json", director.ok("ipvsadm-rs show --json")).unwrap();
    for format in ["rules", "json"] {
        director.ok(&format!("ipvsadm-rs save --format {format} -o saved.{format}"));
    }
    for file in ["show.json", "saved.rules", "saved.json"] {
        let text = director.ok(&format!("ipvsadm-rs which --compare {file}"));
        assert!(text.starts_with("TCP 10.8.0.1:80: alike\nFWM 7: alike\n2 services are alike\n"), "{file}: {text}");
        assert!(!text.contains("does not state"), "{file}: {text}");
        assert_eq!(director.ok(&format!("ipvsadm-rs diff --director {file}")), text);
    }
    let text = director.shell("ipvsadm-rs which --compare - fwmark < show.json").ok();
    assert_eq!(text, "FWM 7: alike\n1 service is alike\n");
    // The classic format does not have the order of the kernel.
    director.shell("ipvsadm-save -n > classic").ok();
    let text = director.run("ipvsadm-rs which --compare classic").stdout;
    assert!(text.contains("note: classic does not state that its servers are in the kernel's order"), "{text}");
}

fn settings_that_differ() {
    let farm = Farm::new();
    farm.table("-t 10.8.0.1:80", "-s sh -b sh-port", &FOUR);
    farm.director.ok("ipvsadm-rs save -o saved");
    let ran = |edit: &str| {
        farm.director.ok(edit);
        let ran = farm.director.run("ipvsadm-rs which --compare saved");
        assert_eq!(ran.code, Some(2), "{ran}");
        let diff = farm.director.run("ipvsadm-rs diff --director saved");
        assert_eq!((diff.code, &diff.stdout), (ran.code, &ran.stdout));
        ran.stdout
    };
    let text = ran("ipvsadm -e -t 10.8.0.1:80 -r 10.2.0.11:80 -m -w 5");
    assert!(text.contains("  weight of 10.2.0.11:80: 5 here, 1 there\n"), "{text}");
    assert!(text.contains(" % of new clients get another server\n"), "{text}");
    let text = ran("ipvsadm -E -t 10.8.0.1:80 -s sh -b sh-fallback");
    assert!(text.contains("  flags: sh-fallback here, sh-port there\n"), "{text}");
    let text = ran("ipvsadm -E -t 10.8.0.1:80 -s wlc");
    assert!(text.contains("  scheduler: wlc here, sh there\n"), "{text}");
    let text = ran("ipvsadm -d -t 10.8.0.1:80 -r 10.2.0.12:80");
    assert!(text.contains("  server only there: 10.2.0.12:80\n"), "{text}");
    let text = ran("ipvsadm -D -t 10.8.0.1:80");
    assert!(text.contains("TCP 10.8.0.1:80: not alike\n  service only there\n"), "{text}");
}
