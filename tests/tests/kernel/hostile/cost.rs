//! The cost of reports: changes are made before their impact is estimated.

ipvs_tests::tests! {}
