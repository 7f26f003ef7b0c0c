//! Which node of a cluster has which keys.

use std::ops::RangeInclusive;

use redis::{ErrorKind, RedisResult, Value, from_redis_value};

/// Of a cluster (its specification, "Key distribution model").
const SLOTS: u16 = 16_384;

/// Slots, and the node that serves them: host and port.
pub(super) type Shard = (RangeInclusive<u16>, (String, u16));

pub(super) const ALL_SLOTS: RangeInclusive<u16> = 0..=SLOTS - 1;

/// The slot of a key. Of a key with a part in braces that part decides.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, behind)| behind.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

/// Reads the answer to `CLUSTER SLOTS`. A node without a name is the one that was `asked`.
pub(super) fn shards(answer: Value, asked: &str) -> RedisResult<Vec<Shard>> {
    let ranges: Vec<Vec<Value>> = from_redis_value(answer)?;
    ranges.into_iter().map(|range| shard(range, asked)).collect()
}

/// The first and the last slot, who serves them, and then replicas.
fn shard(range: Vec<Value>, asked: &str) -> RedisResult<Shard> {
    let mut parts = range.into_iter();
    let (Some(first), Some(last), Some(node)) = (parts.next(), parts.next(), parts.next()) else {
        return Err((ErrorKind::UnexpectedReturnType, "a range of slots without a node").into());
    };
    let mut node = from_redis_value::<Vec<Value>>(node)?.into_iter();
    let (Some(host), Some(port)) = (node.next(), node.next()) else {
        return Err((ErrorKind::UnexpectedReturnType, "a node without an address").into());
    };
    let host = from_redis_value::<Option<String>>(host)?.filter(|host| !host.is_empty() && host != "?");
    let host = host.unwrap_or_else(|| asked.to_owned());
    Ok((from_redis_value(first)?..=from_redis_value(last)?, (host, from_redis_value(port)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("lkm-monitor:30:{foo}:agents"), 12_182);
        assert_eq!(slot("{}foo"), crc16(b"{}foo") % SLOTS);
    }

    #[test]
    fn ranges_are_read_with_their_first_node() {
        let answer = b"*2\r\n*4\r\n:0\r\n:99\r\n*3\r\n$1\r\na\r\n:1\r\n$2\r\nid\r\n*2\r\n$1\r\nb\r\n:2\r\n*3\r\n:100\r\n:16383\r\n*2\r\n$-1\r\n:3\r\n";
        let shards = shards(redis::parse_redis_value(answer).unwrap(), "asked").unwrap();
        assert_eq!(shards, [(0..=99, ("a".to_owned(), 1)), (100..=16_383, ("asked".to_owned(), 3))]);
    }

    #[test]
    fn what_is_no_list_of_slots_is_an_error() {
        for answer in ["+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n+a\r\n"] {
            assert!(shards(redis::parse_redis_value(answer.as_bytes()).unwrap(), "asked").is_err(), "{answer}");
        }
    }
}
