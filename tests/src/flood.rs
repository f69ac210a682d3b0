//! A publisher that waits for nothing: it writes as fast as the broker reads, without confirms, as a program
//! does that has run wild. It speaks just enough AMQP 0-9-1 for that.

use anyhow::{Context, bail, ensure};
use crewcall_proto::ContentType;
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// The largest frame that we accept, in bytes; ours are far smaller.
const FRAME_BYTES_MAX: u32 = 131_072;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

const CONNECTION: u16 = 10;
const CHANNEL: u16 = 20;
const BASIC: u16 = 60;

/// A connection that only publishes.
pub struct Flood {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
}

impl Flood {
    /// Connects to the broker at `url`, such as `amqp://guest:guest@127.0.0.1:5672/vhost`.
    ///
    /// # Errors
    ///
    /// When the broker does not let us in.
    pub async fn start(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let host = url.host_str().context("the address has a host")?;
        let port = url.port().context("the address has a port")?;
        let (reader, writer) = TcpStream::connect((host, port)).await?.into_split();
        let (reader, writer) = (BufReader::new(reader), BufWriter::with_capacity(BUFFER_BYTES, writer));
        let mut flood = Self { reader, writer };
        flood.writer.write_all(b"AMQP\x00\x00\x09\x01").await?;
        flood.expect(CONNECTION, 10).await?; // start
        let secret = format!("\0{}\0{}", url.username(), url.password().unwrap_or_default());
        let length = u32::try_from(secret.len())?.to_be_bytes();
        let start_ok =
            [&[0; 4], short("PLAIN").as_slice(), &length, secret.as_bytes(), &short("en_US")].concat();
        flood.method(0, CONNECTION, 11, &start_ok).await?;
        flood.expect(CONNECTION, 30).await?; // tune
        // One channel, and no heartbeats.
        let tune_ok = [&[0, 1], FRAME_BYTES_MAX.to_be_bytes().as_slice(), &[0, 0]].concat();
        flood.method(0, CONNECTION, 31, &tune_ok).await?;
        let vhost = url.path().strip_prefix('/').filter(|vhost| !vhost.is_empty()).unwrap_or("/");
        let vhost = vhost.replace("%2f", "/").replace("%2F", "/");
        flood.method(0, CONNECTION, 40, &[short(&vhost), vec![0, 0]].concat()).await?;
        flood.expect(CONNECTION, 41).await?; // open-ok
        flood.method(1, CHANNEL, 10, &[0]).await?;
        flood.expect(CHANNEL, 11).await?; // open-ok
        Ok(flood)
    }

    /// Publishes a JSON text that may get lost.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub async fn publish(&mut self, exchange: &str, routing_key: &str, body: &[u8]) -> anyhow::Result<()> {
        let publish = [vec![0, 0], short(exchange), short(routing_key), vec![0]].concat();
        self.method(1, BASIC, 40, &publish).await?;
        let length = u64::try_from(body.len())?.to_be_bytes();
        // The flags say: a content type, and a delivery mode, which is 1, not persistent.
        let content_type = short(ContentType::Json.as_str());
        let header = [&[0, 60, 0, 0], length.as_slice(), &[0x90, 0x00], &content_type, &[1]].concat();
        self.frame(HEADER, 1, &header).await?;
        self.frame(BODY, 1, body).await
    }

    /// Ends it, after the broker has read everything. A quorum queue may lose what it was given last: nobody waited
    /// for a confirm.
    ///
    /// # Errors
    ///
    /// When the broker ended the connection before.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.method(1, CHANNEL, 40, &[0, 200, 0, 0, 0, 0, 0]).await?;
        self.expect(CHANNEL, 41).await // close-ok
    }

    async fn method(
        &mut self,
        channel: u16,
        class: u16,
        method: u16,
        arguments: &[u8],
    ) -> anyhow::Result<()> {
        let payload = [&class.to_be_bytes(), method.to_be_bytes().as_slice(), arguments].concat();
        self.frame(METHOD, channel, &payload).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let head = [&[kind], channel.to_be_bytes().as_slice(), &length].concat();
        self.writer.write_all(&head).await?;
        self.writer.write_all(payload).await?;
        self.writer.write_all(&[FRAME_END]).await?;
        Ok(())
    }

    /// Sends what was collected, and reads the broker's next method, which has to be this one.
    async fn expect(&mut self, class: u16, method: u16) -> anyhow::Result<()> {
        self.writer.flush().await?;
        loop {
            let kind = self.reader.read_u8().await?;
            let _channel = self.reader.read_u16().await?;
            let length = self.reader.read_u32().await?;
            ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
            let mut payload = vec![0; usize::try_from(length)?];
            self.reader.read_exact(&mut payload).await?;
            ensure!(self.reader.read_u8().await? == FRAME_END, "a frame has no end");
            let expected = [class.to_be_bytes(), method.to_be_bytes()].concat();
            match kind {
                METHOD if payload.starts_with(&expected) => return Ok(()),
                METHOD => bail!("the broker said {}", String::from_utf8_lossy(&payload)),
                _ => {} // a heartbeat
            }
        }
    }
}

/// A text of at most 255 bytes, as AMQP writes it.
fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], &text.as_bytes()[..usize::from(length)]].concat()
}
