//! What a broker says of itself before anybody has logged in. The client library keeps that to itself, so it is asked
//! on a connection of its own, which ends right there.

use lapin::types::{AMQPValue, FieldTable, parsing::parse_field_table};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::LinkConfig;

/// The product that a broker says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerProduct {
    /// Its name: `RabbitMQ`.
    pub name: String,
    /// Its version: `3.10.8`.
    pub version: String,
}

/// How a client of AMQP 0-9-1 introduces itself.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// Type, channel and length of a frame.
const FRAME_HEADER_BYTES: usize = 7;
/// The method `connection.start`, and the version of the protocol: what stands before the table.
const START_BYTES: usize = 6;
/// The longest greeting that is read; RabbitMQ's has some 500 bytes.
const GREETING_BYTES_MAX: usize = 64 * 1024;

/// Asks the broker what it is. `None` when it cannot be asked: over TLS, or when it does not greet as AMQP 0-9-1 wants it.
pub(crate) async fn product(config: &LinkConfig) -> Option<BrokerProduct> {
    if !config.url.starts_with("amqp://") {
        return None;
    }
    let table = timeout(config.operation_timeout, greeting(config)).await.ok()??;
    let text = |key: &str| match table.inner().get(key) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Some(BrokerProduct { name: text("product")?, version: text("version")? })
}

async fn greeting(config: &LinkConfig) -> Option<FieldTable> {
    let mut stream = TcpStream::connect(config.address()).await.ok()?;
    stream.write_all(PROTOCOL_HEADER).await.ok()?;
    let mut header = [0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut header).await.ok()?;
    let length = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let length = usize::try_from(length).ok().filter(|length| *length <= GREETING_BYTES_MAX)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    read(&payload)
}

/// The table in the payload of `connection.start`.
fn read(payload: &[u8]) -> Option<FieldTable> {
    let (start, rest) = payload.split_at_checked(START_BYTES)?;
    if start[..4] != [0, 10, 0, 10] {
        return None;
    }
    parse_field_table(rest).ok().map(|(_, table)| table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_read_and_another_message_is_not() {
        let mut greeting = vec![0, 10, 0, 10, 0, 9];
        let entry = b"\x07versionS\x00\x00\x00\x063.10.8";
        greeting.extend(u32::try_from(entry.len()).unwrap().to_be_bytes());
        greeting.extend(entry);
        let version = read(&greeting).unwrap().inner().get("version").cloned();
        assert_eq!(version, Some(AMQPValue::LongString("3.10.8".into())));
        greeting[3] = 11;
        assert!(read(&greeting).is_none() && read(b"HTTP").is_none());
    }
}
