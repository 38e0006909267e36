//! TABLE: the examples in the help of each verb.

/// Returns the examples of a verb, one command line each.
pub(super) fn of(verb: &str) -> &'static [&'static str] {
    match verb {
        "plan" => &["ipvsadm-rs plan rules", "ipvsadm-rs plan --only tcp:192.0.2.1:80 -o saved rules"],
        "apply" => &["ipvsadm-rs apply --no-cut rules", "ipvsadm-rs apply --confirm-within 2m rules"],
        "undo" => &["ipvsadm-rs undo", "ipvsadm-rs undo 7 --dry-run", "ipvsadm-rs undo 7 --drain 5m"],
        "history" => &[
            "ipvsadm-rs history",
            "ipvsadm-rs history show 7",
            "ipvsadm-rs history diff 7",
            "ipvsadm-rs history diff 7 9",
        ],
        "restore" => &["ipvsadm-rs restore 7", "ipvsadm-rs restore 8:before --dry-run"],
        "drain" => &[
            "ipvsadm-rs drain 10.0.0.1",
            "ipvsadm-rs drain web1,web2 --wait --timeout 10m --min-up 50%",
            "ipvsadm-rs drain 10.0.0.1:80 --in tcp:192.0.2.1:80 --timeout 5m --then delete",
        ],
        "undrain" => &[
            "ipvsadm-rs undrain 10.0.0.1",
            "ipvsadm-rs undrain web1,web2 --ramp 2m",
            "ipvsadm-rs undrain 10.0.0.1 --weight 5",
        ],
        "shift" => &[
            "ipvsadm-rs shift --from 10.0.0.1,10.0.0.2 --to 10.0.0.3,10.0.0.4 --over 10m",
            "ipvsadm-rs shift --from blue --to green --over 1h --in tcp:192.0.2.1:443",
        ],
        "confirm" => &["ipvsadm-rs confirm"],
        "follow" => &[
            "ipvsadm-rs follow /etc/ipvsadm.d/table.toml",
            "ipvsadm-rs follow etcd://10.0.0.1,10.0.0.2,10.0.0.3/lvs/edge --max-change 30%",
            "ipvsadm-rs follow status",
        ],
        "fleet" => &["ipvsadm-rs fleet etcd://10.0.0.1/lvs/reports"],
        "save" => &["ipvsadm-rs save -o /etc/ipvsadm.rules", "ipvsadm-rs save --format json"],
        "check" => &[
            "ipvsadm-rs check rules",
            "ipvsadm-rs check --strict --json rules",
            "ipvsadm-rs check --live --problems",
            "ipvsadm-rs check --live --nagios --keep-weights /etc/ipvsadm.rules",
        ],
        "doctor" => &["ipvsadm-rs doctor", "ipvsadm-rs doctor --fail-on error --disable expire-nodest-conn"],
        "convert" => &[
            "ipvsadm-rs convert /etc/keepalived/keepalived.conf",
            "ipvsadm-rs convert --format ldirectord --to toml /etc/ha.d/ldirectord.cf",
        ],
        "diff" => &[
            "ipvsadm-rs diff /etc/keepalived/keepalived.conf",
            "ipvsadm-rs diff --listed-only --json rules",
            "ipvsadm-rs diff --director other-director.json",
        ],
        "show" => &["ipvsadm-rs show --services --sort rate --limit 10", "ipvsadm-rs show --problems"],
        "connections" => &[
            "ipvsadm-rs connections --templates --server 10.0.0.7",
            "ipvsadm-rs connections --state SYN_RECV --by server",
            "ipvsadm-rs connections -t 192.0.2.1:80 --by client/24 --limit 10",
        ],
        "which" => &[
            "ipvsadm-rs which -t 192.0.2.1:80 --client 203.0.113.9:40001",
            "ipvsadm-rs which -t 192.0.2.1:80 --clients addresses --without 10.0.0.7",
            "ipvsadm-rs which --compare other-director.json",
        ],
        "monitor" => &["ipvsadm-rs monitor", "ipvsadm-rs monitor --json-lines --stats --interval 10s"],
        "metrics" => &[
            "ipvsadm-rs metrics",
            "ipvsadm-rs metrics --detail services --only 192.0.2.0/24",
            "ipvsadm-rs metrics --textfile /var/lib/prometheus/node-exporter/ipvs.prom",
            "ipvsadm-rs metrics --listen 127.0.0.1:10580",
        ],
        "why" => &[
            "ipvsadm-rs why -t 192.0.2.1:80",
            "ipvsadm-rs why -t 192.0.2.1:80 --client 203.0.113.9 --probe",
            "ipvsadm-rs why -f 7 --to 192.0.2.1:80",
        ],
        "top" => &[
            "ipvsadm-rs top",
            "ipvsadm-rs top --servers --sort bits --interval 10s",
            "ipvsadm-rs top --once --limit 10",
        ],
        "set" => &[
            "ipvsadm-rs set -r 10.0.0.7 --weight 0",
            "ipvsadm-rs set -t 192.0.2.1:80 -s wrr -p 5m",
            "ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.7 -w +2",
        ],
        "rs-setup" => &["ipvsadm-rs rs-setup --mode dr --vip 192.0.2.1"],
        "snat-rules" => &["ipvsadm-rs snat-rules -t 192.0.2.1:80", "ipvsadm-rs snat-rules -f 7 --for iptables"],
        "generate" => &["ipvsadm-rs generate man"],
        _ => &[],
    }
}

/// Returns the end of the help of a verb: the present one, followed by the examples.
pub(super) fn append(help: Option<String>, verb: &str) -> String {
    let examples = of(verb);
    let mut text = help.unwrap_or_default();
    if !examples.is_empty() {
        text += if text.is_empty() { "" } else { "\n\n" };
        text += if examples.len() == 1 { "Example:" } else { "Examples:" };
        examples.iter().for_each(|example| text += &format!("\n  {example}"));
    }
    text
}
