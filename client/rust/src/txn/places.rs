//! Where in a transaction stands what a failure names.
//!
//! ```text
//!   the caller's order     require u   put t   require t   put u     conditions 0 and 1, writes 0 and 1
//!   as it is sent          t: [require t, reads of t] [put t]        a part for each table, in the order of the names
//!                          u: [require u, reads of u] [put u]
//! ```
//!
//! Failures count conditions and reads over all parts, and operations over all parts.

use lentic_types::ErrorKind;

use crate::error::Error;

/// The caller's places of what is sent.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of each condition and read its place among what is required; none of a read.
    reads: Vec<Option<u32>>,
    /// Of each operation its place among what is written.
    writes: Vec<u32>,
}

impl Places {
    /// Adds a part: `reads` conditions and ranges in all, the first of which are required.
    pub(super) fn add(&mut self, required: &[u32], reads: usize, writes: &[u32]) {
        let end = self.reads.len() + reads;
        self.reads.extend(required.iter().copied().map(Some));
        self.reads.resize(end, None);
        self.writes.extend_from_slice(writes);
    }

    /// The error with the caller's position instead of that in what was sent. A conflict is about something that was read,
    /// and keeps its position.
    pub(super) fn placed(&self, error: Error) -> Error {
        let at = error.position().and_then(|position| usize::try_from(position).ok());
        let required = || at.and_then(|at| self.reads.get(at).copied().flatten());
        let write = || at.and_then(|at| self.writes.get(at).copied());
        let (place, subject, rest) = match error.kind() {
            ErrorKind::ConditionFailed => (required(), "condition", "does not hold; read again, then decide again"),
            ErrorKind::WrongKind => {
                (write(), "write", "merges a value of another kind; check the key and the operator")
            }
            ErrorKind::TooLarge => (write(), "write", "would exceed a limit; ask for less, or continue in parts"),
            _ => return error,
        };
        match place {
            Some(place) => error.at_position(place, format!("{subject} {place} of the transaction {rest}")),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lentic_proto::v1::Failure;

    #[test]
    fn positions_are_those_of_the_caller() {
        let mut places = Places::default();
        places.add(&[1], 3, &[0, 2]);
        places.add(&[0, 2], 2, &[1]);
        let placed = |kind: ErrorKind, position: u32| {
            let failure = Failure { position: Some(position), ..Failure::new(kind, "as sent") };
            let error = places.placed(Error::from_failure(failure));
            (error.position(), error.message().to_owned())
        };
        let held =
            |place: u32| format!("condition {place} of the transaction does not hold; read again, then decide again");
        assert_eq!(placed(ErrorKind::ConditionFailed, 0), (Some(1), held(1)));
        assert_eq!(placed(ErrorKind::ConditionFailed, 3), (Some(0), held(0)));
        assert_eq!(placed(ErrorKind::ConditionFailed, 4), (Some(2), held(2)));
        assert_eq!(placed(ErrorKind::WrongKind, 1).0, Some(2));
        assert_eq!(placed(ErrorKind::TooLarge, 2).0, Some(1));
        assert_eq!(placed(ErrorKind::Conflict, 1), (Some(1), "as sent".to_owned()));
        assert_eq!(placed(ErrorKind::WrongKind, 9), (Some(9), "as sent".to_owned()));
    }
}
