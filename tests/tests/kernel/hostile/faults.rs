//! Random faults while a plan is pending.

ipvs_tests::tests! {}
