//! A machine whose kernel has not loaded the module.

use ipvs_tests::command::run;
use ipvs_tests::guest::modules;

use crate::under_test;

ipvs_tests::tests! {
    module_is_not_loaded, own_kernel = true;
}

fn module_is_not_loaded() {
    under_test::install();
    under_test::modprobe();
    std::fs::write("rules", "-A -t 10.8.0.1:80 -s sh\n").unwrap();
    let unloaded = modules::unload("ip_vs").unwrap();
    for command in ["which -t 10.8.0.1:80 --client 10.9.0.1", "which --compare rules", "diff --director rules"] {
        let ran = run(&format!("ipvsadm-rs {command}"));
        let text =
            "error: cannot read the table: the module ip_vs is not loaded\nLoad the module with `modprobe ip_vs`.";
        assert!(ran.code == Some(1) && ran.stderr.contains(text) && ran.stdout.is_empty(), "{ran}");
        assert!(!std::fs::exists("/proc/net/ip_vs").unwrap(), "{command} loaded the module");
    }
    drop(unloaded);
}
