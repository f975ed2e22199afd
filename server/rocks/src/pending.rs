//! What an install is about to do, on disk: who opens the store after a crash does it again, from the beginning.
//!
//! ```text
//! <directory>/installs/0/plan         what is to be replaced, and the family of each file
//!                       000000.sst    the files, in the order of the plan
//!                       links/        the same files under a second name, which RocksDB takes away
//! ```
//!
//! A directory without a plan is of an install that has not begun, or that has ended. The plan comes last and goes first, both
//! durably:
//!
//! ```text
//! plan        crc32 n span* m family*     span     family lower is-last [upper]
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lentic_engine::{Family, Span};
use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};

use crate::import::Arrival;
use crate::transfer::EXTENSION;

const PLAN_NAME: &str = "plan";
const PLAN_NEW_NAME: &str = "plan.new";
const LINKS_NAME: &str = "links";

/// An install that is to be done, and will be.
#[derive(Debug)]
pub(crate) struct Pending {
    directory: PathBuf,
    pub(crate) spans: Vec<Span>,
    /// The family of each file.
    families: Vec<Family>,
}

impl Pending {
    /// Moves the files of `arrivals` into `directory`, which is made: all but the plan. Nothing has begun yet.
    pub(crate) fn prepare(directory: PathBuf, spans: &[Span], arrivals: &[Arrival]) -> io::Result<Self> {
        lentic_files::make_directory(&directory)?;
        let families = arrivals.iter().map(|arrival| arrival.family).collect();
        let pending = Self { directory, spans: spans.to_vec(), families };
        for (number, arrival) in arrivals.iter().enumerate() {
            fs::rename(&arrival.path, pending.file(number))?;
            File::open(pending.file(number))?.sync_all()?;
        }
        Ok(pending)
    }

    /// Makes it last over a crash. With an error it may, or may not: nobody may write the spans then.
    pub(crate) fn begin(&self) -> io::Result<()> {
        // It makes the names of the files durable, too.
        lentic_files::replace(&self.plan(), &self.directory.join(PLAN_NEW_NAME), &encode(&self.spans, &self.families))
    }

    /// Those that a crash has left in `installs`, in the order in which they were begun. What else is there is removed.
    pub(crate) fn left_in(installs: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(installs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        for entry in entries {
            let directory = entry?.path();
            let number: Option<u64> = directory.file_name().and_then(|name| name.to_str()?.parse().ok());
            match (number, fs::read(directory.join(PLAN_NAME))) {
                (Some(number), Ok(plan)) => found.push((number, Self::read(directory, &plan)?)),
                (None, _) => fs::remove_dir_all(&directory)?,
                (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(&directory)?,
                (_, Err(error)) => return Err(error),
            }
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found.into_iter().map(|(_, pending)| pending).collect())
    }

    fn read(directory: PathBuf, plan: &[u8]) -> io::Result<Self> {
        let damaged = |path: PathBuf, reason: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()))
        };
        let decoded = decode(plan).map_err(|error| damaged(directory.join(PLAN_NAME), error.to_string()));
        let (spans, families) = decoded?;
        let pending = Self { directory, spans, families };
        match (0..pending.families.len()).map(|number| pending.file(number)).find(|file| !file.exists()) {
            Some(missing) => Err(damaged(missing, "the plan names it, and it is gone".to_owned())),
            None => Ok(pending),
        }
    }

    /// The files of each family that has any, under names that RocksDB may take away.
    pub(crate) fn links(&self) -> io::Result<Vec<(Family, Vec<PathBuf>)>> {
        let directory = self.directory.join(LINKS_NAME);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&directory)?,
        }
        let mut links = Vec::new();
        for family in Family::ALL {
            let mut of_family = Vec::new();
            for number in (0..self.families.len()).filter(|number| self.families[*number] == family) {
                let link = directory.join(file_name(number));
                fs::hard_link(self.file(number), &link)?;
                of_family.push(link);
            }
            if !of_family.is_empty() {
                links.push((family, of_family));
            }
        }
        Ok(links)
    }

    /// It is done, and its effect is durable: no crash brings it back. With an error one may: nobody may write the spans then.
    pub(crate) fn end(self) -> io::Result<()> {
        fs::remove_file(self.plan())?;
        File::open(&self.directory)?.sync_all()?;
        self.abandon();
        Ok(())
    }

    /// Removes what has not begun. What cannot be removed now is removed when the store is next opened.
    pub(crate) fn abandon(self) {
        let _ = fs::remove_dir_all(&self.directory);
    }

    fn plan(&self) -> PathBuf {
        self.directory.join(PLAN_NAME)
    }

    fn file(&self, number: usize) -> PathBuf {
        self.directory.join(file_name(number))
    }
}

fn file_name(number: usize) -> String {
    format!("{number:06}.{EXTENSION}")
}

fn encode(spans: &[Span], families: &[Family]) -> Vec<u8> {
    let mut out = vec![0; 4];
    put_varint(&mut out, spans.len() as u64);
    for Span { family, lower, upper } in spans {
        out.push(*family as u8);
        put_bytes(&mut out, lower);
        out.push(u8::from(upper.is_none()));
        if let Some(upper) = upper {
            put_bytes(&mut out, upper);
        }
    }
    put_varint(&mut out, families.len() as u64);
    out.extend(families.iter().map(|family| *family as u8));
    let crc32 = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc32.to_be_bytes());
    out
}

fn decode(plan: &[u8]) -> Result<(Vec<Span>, Vec<Family>), DecodeError> {
    let mut reader = Reader::new(plan);
    let crc32 = reader.u32_be("crc32")?;
    if crc32fast::hash(&plan[4..]) != crc32 {
        return Err(DecodeError::Invalid { field: "crc32" });
    }
    let count = reader.count(3, "spans")?;
    let span = |reader: &mut Reader<'_>| {
        let (family, lower) = (family(reader)?, reader.bytes("lower")?.to_vec());
        let upper = if reader.bool("is-last")? { None } else { Some(reader.bytes("upper")?.to_vec()) };
        Ok(Span { family, lower, upper })
    };
    let spans = (0..count).map(|_| span(&mut reader)).collect::<Result<_, _>>()?;
    let count = reader.count(1, "families")?;
    let families = (0..count).map(|_| family(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish("plan")?;
    Ok((spans, families))
}

fn family(reader: &mut Reader<'_>) -> Result<Family, DecodeError> {
    let number = reader.u8("family")?;
    Family::ALL.into_iter().find(|family| *family as u8 == number).ok_or(DecodeError::Invalid { field: "family" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_plan() {
        let spans =
            [Span { family: Family::Data, lower: b"a".to_vec(), upper: Some(b"c".to_vec()) }, Span::all(Family::Sys)];
        let families = [Family::Data, Family::Data, Family::Sys];
        let plan = encode(&spans, &families);
        assert_eq!(&plan[4..], b"\x02\x00\x01a\x00\x01c\x02\x00\x01\x03\x00\x00\x02");
        assert_eq!(decode(&plan), Ok((spans.to_vec(), families.to_vec())));
        for length in 0..plan.len() {
            assert!(decode(&plan[..length]).is_err(), "the first {length} bytes");
        }
        for position in 0..plan.len() {
            let mut damaged = plan.clone();
            damaged[position] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {position}");
        }
    }

    #[test]
    fn what_has_no_plan_is_removed_and_the_rest_is_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let installs = directory.path().join("installs");
        assert_eq!(Pending::left_in(&installs).unwrap().len(), 0);
        for number in [10, 9, 2] {
            let spans = [Span { lower: vec![number], ..Span::all(Family::Lock) }];
            let pending = Pending::prepare(installs.join(number.to_string()), &spans, &[]).unwrap();
            pending.begin().unwrap();
        }
        let ended = Pending::prepare(installs.join("11"), &[], &[]).unwrap();
        ended.begin().unwrap();
        fs::create_dir(installs.join("1")).unwrap();
        fs::create_dir(installs.join("not-ours")).unwrap();
        ended.end().unwrap();
        let left = Pending::left_in(&installs).unwrap();
        assert_eq!(left.iter().map(|pending| pending.spans[0].lower[0]).collect::<Vec<_>>(), [2, 9, 10]);
        assert_eq!(fs::read_dir(&installs).unwrap().count(), 3);
        fs::write(installs.join("9").join(PLAN_NAME), b"not a plan").unwrap();
        let error = Pending::left_in(&installs).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("9/plan"), "{error}");
    }
}
