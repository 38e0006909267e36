//! The keywords of keepalived 2.2 that have no counterpart in a table.

/// At the top level. `global_defs`, `virtual_server` and `virtual_server_group` are read.
pub(super) const ROOT: &[&str] = &[
    "bfd_instance",
    "child_wait_time",
    "garp_group",
    "instance",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "SSL",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_file",
    "track_group",
    "track_process",
    "use_pid_dir",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];

/// Keywords in `virtual_server`.
pub(super) const VIRTUAL_SERVER: &[&str] = &[
    "connect_timeout",
    "delay_before_retry",
    "delay_loop",
    "ha_suspend",
    "quorum_down",
    "quorum_up",
    "retry",
    "smtp_alert",
    "snmp_name",
    "virtualhost",
    "warmup",
];

/// Keywords in `real_server`.
pub(super) const REAL_SERVER: &[&str] = &[
    "connect_timeout",
    "delay_before_retry",
    "delay_loop",
    "notify_down",
    "notify_up",
    "retry",
    "smtp_alert",
    "snmp_name",
    "virtualhost",
    "warmup",
];

/// The checks in `real_server`.
pub(super) const CHECKS: &[&str] = &[
    "BFD_CHECK",
    "DNS_CHECK",
    "FILE_CHECK",
    "HTTP_GET",
    "MISC_CHECK",
    "PING_CHECK",
    "SMTP_CHECK",
    "SSL_GET",
    "TCP_CHECK",
    "UDP_CHECK",
];

/// Keywords in `global_defs`. Others begin with one of [`GLOBAL_PREFIXES`].
pub(super) const GLOBAL: &[&str] = &[
    "child_wait_time",
    "config_save_dir",
    "data_use_instance",
    "dbus_service_name",
    "default_interface",
    "disable_local_igmp",
    "dynamic_interfaces",
    "enable_dbus",
    "enable_script_security",
    "enable_traps",
    "fifo_write_vrrp_states_on_reload",
    "include_check",
    "instance",
    "linkbeat_use_polling",
    "log_unknown_vrids",
    "max_auto_priority",
    "min_auto_priority_delay",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "nftables",
    "nftables_counters",
    "nftables_ifindex",
    "nftables_priority",
    "no_checker_emails",
    "no_email_faults",
    "notification_email",
    "notification_email_from",
    "process_name",
    "process_names",
    "random_seed",
    "router_id",
    "rs_init_notifies",
    "script_user",
    "shutdown_script",
    "shutdown_script_timeout",
    "startup_script",
    "startup_script_timeout",
    "tmp_config_directory",
    "umask",
    "use_pid_dir",
    "vmac_addr_prefix",
    "vmac_prefix",
];

/// The beginnings of keywords in `global_defs`.
pub(super) const GLOBAL_PREFIXES: &[&str] = &[
    "bfd_",
    "checker_",
    "enable_snmp_",
    "lvs_flush",
    "lvs_netlink_",
    "lvs_notify_",
    "lvs_process_name",
    "notify_fifo",
    "process_monitor_",
    "reload_",
    "smtp_",
    "snmp_",
    "vrrp_",
];

/// Returns the message for a keyword that is not known. `known` are keywords of the same block.
pub(super) fn unknown(word: &str, known: &[&str]) -> String {
    let differs_in_case = known.iter().find(|known| known.eq_ignore_ascii_case(word));
    let advice = differs_in_case.map(|known| format!(": keepalived knows `{known}'")).unwrap_or_default();
    format!("unknown keyword `{word}'{advice}")
}
