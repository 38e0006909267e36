//! The journal of another boot or of another namespace.

ipvs_tests::tests! {}
