//! What a node says of the shards that it leads, to the leader of the meta group.

use std::sync::atomic::Ordering;

use lentic_engine::Portable;
use lentic_types::codec::{DecodeError, Reader, put_varint};
use lentic_types::{GroupId, NodeId, ShardId};

use crate::gateway::Gateway;

/// What a node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its disk is slow, and it should lead nothing.
    pub(crate) is_slow: bool,
    /// The shards that it leads.
    pub(crate) led: Vec<(ShardId, Figures)>,
    /// Of these, the states that are being sent to nodes that lack them.
    pub(crate) sends: Vec<Sending>,
}

/// How busy and how large a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Operations per second, on the average over some seconds.
    pub(crate) rate: u64,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

/// How far the state of a shard is on its way to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) shard: ShardId,
    pub(crate) to: NodeId,
    /// Bytes that have come there.
    pub(crate) sent: u64,
    /// Bytes of all of it.
    pub(crate) bytes: u64,
    /// For how long it has been on its way.
    pub(crate) ms: u64,
}

impl Report {
    /// Of this node, now.
    pub(crate) fn of<S: Portable>(gateway: &Gateway<S>) -> Self {
        let shards = gateway.shards.groups();
        let led = shards.iter().filter(|replica| replica.serves());
        let sends = gateway.meta.host.sends().into_iter().filter_map(|(group, to, progress)| {
            let shard = shards.iter().find(|replica| GroupId::from(replica.shard) == group)?.shard;
            let ms = u64::try_from(progress.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            Some(Sending { shard, to, sent: progress.sent, bytes: progress.bytes, ms })
        });
        let figures = |replica: &crate::shard::replica::Replica<S>| {
            let gauges = replica.gauges();
            let [rate, bytes] = [&gauges.rate, &gauges.bytes].map(|gauge| gauge.load(Ordering::Relaxed));
            (replica.shard, Figures { rate, bytes })
        };
        Self {
            is_slow: gateway.disk.pace().is_slow,
            led: led.map(|replica| figures(replica)).collect(),
            sends: sends.collect(),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_slow));
        put_varint(out, self.led.len() as u64);
        for (shard, Figures { rate, bytes }) in &self.led {
            [shard.0, *rate, *bytes].into_iter().for_each(|number| put_varint(out, number));
        }
        put_sends(out, &self.sends);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (is_slow, count) = (reader.bool("slow")?, reader.count(3, "shards")?);
        let mut led = Vec::with_capacity(count);
        for _ in 0..count {
            let shard = ShardId(reader.varint("shard")?);
            led.push((shard, Figures { rate: reader.varint("rate")?, bytes: reader.varint("bytes")? }));
        }
        Ok(Self { is_slow, led, sends: read_sends(reader)? })
    }
}

pub(crate) fn put_sends(out: &mut Vec<u8>, sends: &[Sending]) {
    put_varint(out, sends.len() as u64);
    for Sending { shard, to, sent, bytes, ms } in sends {
        [shard.0, to.0, *sent, *bytes, *ms].into_iter().for_each(|number| put_varint(out, number));
    }
}

pub(crate) fn read_sends(reader: &mut Reader<'_>) -> Result<Vec<Sending>, DecodeError> {
    let count = reader.count(5, "sends")?;
    let mut sends = Vec::with_capacity(count);
    for _ in 0..count {
        let (shard, to) = (ShardId(reader.varint("shard")?), NodeId(reader.varint("node")?));
        let (sent, bytes) = (reader.varint("sent")?, reader.varint("bytes")?);
        sends.push(Sending { shard, to, sent, bytes, ms: reader.varint("milliseconds")? });
    }
    Ok(sends)
}
