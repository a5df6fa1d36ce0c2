//! Reads a file in several requests at a time, its pieces in order, in bounded memory.

use super::channel::Channel;
use super::failure::Failure;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use saas_export_manifest::{Digester, Digests};
use std::sync::Arc;

/// Requests that are under way: with the largest pieces four megabytes.
const AHEAD: usize = 16;

type Piece = BoxFuture<'static, (u64, u32, Result<Bytes, Failure>)>;

/// A file that is being read.
pub struct Receiving {
    channel: Arc<Channel>,
    handle: String,
    /// Where the next piece that is given begins.
    at: u64,
    /// Where the next piece that is asked for begins.
    ask: u64,
    flying: FuturesOrdered<Piece>,
}

impl Receiving {
    /// Opens a file; `None` if it is not there.
    pub async fn open(channel: &Arc<Channel>, path: &str) -> Result<Option<Self>, Failure> {
        let Some(handle) = channel.open(path).await? else { return Ok(None) };
        Ok(Some(Self { channel: channel.clone(), handle, at: 0, ask: 0, flying: FuturesOrdered::new() }))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while self.flying.len() < AHEAD {
            let (channel, handle) = (self.channel.clone(), self.handle.clone());
            let (offset, len) = (self.ask, self.channel.read_size);
            self.flying.push_back(Box::pin(async move { (offset, len, channel.read(&handle, offset, len).await) }));
            self.ask += u64::from(len);
        }
        let patience = self.channel.patience;
        let next = tokio::time::timeout(patience, self.flying.next()).await;
        let Some((offset, len, answer)) = next.map_err(|_| Failure::Silent(patience))? else { return Ok(None) };
        let bytes = answer?;
        debug_assert_eq!(offset, self.at);
        if bytes.is_empty() {
            self.flying.clear();
            return Ok(None);
        }
        self.at += bytes.len() as u64;
        // A server may give less than was asked for, also before the end: what was asked for behind that is at a wrong place.
        if (bytes.len() as u64) < u64::from(len) {
            self.flying.clear();
            self.ask = self.at;
        }
        Ok(Some(bytes))
    }

    /// Closes it.
    pub async fn close(mut self) -> Result<(), Failure> {
        self.flying.clear();
        self.channel.close(&self.handle).await
    }
}

/// Size and checksums of a file; `None` if it is not there.
pub async fn digest(channel: &Arc<Channel>, path: &str) -> Result<Option<Digests>, Failure> {
    let Some(mut reading) = Receiving::open(channel, path).await? else { return Ok(None) };
    let mut digester = Digester::default();
    while let Some(bytes) = reading.next().await? {
        digester.update(&bytes);
    }
    reading.close().await?;
    Ok(Some(digester.finish()))
}
