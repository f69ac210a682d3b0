//! Places at which a test breaks the program on purpose, to show that another test finds it.

/// Whether the program is broken at this place: when `FAILPOINTS` says `mutant_<name>=return`, and never without the
/// feature `failpoints`.
pub(crate) fn mutant(name: &str) -> bool {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(&format!("mutant_{name}"), |_| true);
    let _ = name;
    false
}
