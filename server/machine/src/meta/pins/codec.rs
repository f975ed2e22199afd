//! The bytes of a pin, in its row and in the command that makes it.
//!
//! ```text
//! pin       kind name owner nonce (16 bytes) n span* version created 00 | 01 expires
//! span      table range
//! ```
//!
//! Kinds are one byte: 01 snapshot, 02 checkpoint, 03 branch. Names are byte strings, other numbers varints.

use lentic_types::codec::{DecodeError, Reader, put_bytes, put_varint};
use lentic_types::limits::PIN_SPANS_MAX;
use lentic_types::{PinId, TableId, Version};

use super::{Pin, PinKind, PinSpan};
use crate::meta::rows::{narrow, text};
use crate::shard::{decode_range, encode_range};

impl PinKind {
    /// The kind's number in formats; never reused.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Snapshot => 0x01,
            Self::Checkpoint => 0x02,
            Self::Branch => 0x03,
        }
    }

    const fn of_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag {
            0x01 => Ok(Self::Snapshot),
            0x02 => Ok(Self::Checkpoint),
            0x03 => Ok(Self::Branch),
            tag => Err(DecodeError::UnknownTag { field: "kind of pin", tag }),
        }
    }
}

impl Pin {
    /// About how many bytes it takes, and no fewer.
    pub(super) fn bytes(&self) -> usize {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.len()
    }

    pub(in crate::meta) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind.tag());
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.owner.as_bytes());
        out.extend_from_slice(&self.nonce);
        put_varint(out, self.spans.len() as u64);
        for span in &self.spans {
            put_varint(out, u64::from(span.table.0));
            encode_range(out, &span.range);
        }
        put_varint(out, self.version.0);
        put_varint(out, self.created.0);
        out.push(u8::from(self.expires.is_some()));
        self.expires.iter().for_each(|expires| put_varint(out, expires.0));
    }

    pub(in crate::meta) fn decode(pin: PinId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = PinKind::of_tag(reader.u8("kind of pin")?)?;
        let (name, owner) = (text(reader, "name of pin")?, text(reader, "owner of pin")?);
        let nonce = reader.take(16, "nonce of pin")?.try_into().expect("took 16 bytes");
        let count = reader.count(3, "spans of pin")?;
        if count > PIN_SPANS_MAX {
            return Err(DecodeError::Invalid { field: "spans of pin" });
        }
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            spans.push(PinSpan { table: TableId(narrow(reader, "table")?), range: decode_range(reader)? });
        }
        let (version, created) =
            (Version(reader.varint("pinned version")?), Version(reader.varint("creation of pin")?));
        let expires = if reader.bool("lease")? { Some(Version(reader.varint("end of lease")?)) } else { None };
        Ok(Self { pin, kind, name, owner, nonce, spans, version, created, expires })
    }
}
