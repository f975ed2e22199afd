//! Planted bugs: small wrongs at places that carry a promise, which the suites must catch.
//!
//! `mutant!("name")` is false, and gone before anything is compiled, in every build but the one that `cargo xtask mutants`
//! makes. That one holds all of them, and a program plants one for its whole life.

/// Whether the bug of this name is planted: `if mutant!("no-rule-r") { … }`.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        cfg!(mutant = "any") && $crate::mutant::is_planted($name)
    };
}

#[cfg(mutant = "any")]
static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Plants a bug in this process. False if this build has none, or if another is planted.
#[must_use]
pub fn plant(name: &str) -> bool {
    #[cfg(mutant = "any")]
    return PLANTED.set(name.to_owned()).is_ok();
    #[cfg(not(mutant = "any"))]
    {
        let _ = name;
        false
    }
}

/// Whether the bug of this name is planted; [`mutant!`](crate::mutant!) asks it.
#[must_use]
pub fn is_planted(name: &str) -> bool {
    #[cfg(mutant = "any")]
    return PLANTED.get().is_some_and(|planted| planted == name);
    #[cfg(not(mutant = "any"))]
    {
        let _ = name;
        false
    }
}

#[cfg(all(test, not(mutant = "any")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_use_has_no_bugs_to_plant() {
        assert!(!plant("no-answers") && !is_planted("no-answers"));
        assert!(!crate::mutant!("no-answers"));
    }
}
