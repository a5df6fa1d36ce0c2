//! Reads a lane's pages in order and hands them on converted: journal first, then the source, never more than the budget.
//!
//! ```text
//! sample pages ─┐
//! journal: pages before it, asked again and compared ─▶ its pages ─▶ source ─▶ budget ─▶ convert (threads) ─▶ in order
//! ```

use super::cpu::Cpu;
use super::error::TransferError;
use super::journal::{PageDigest, Replay};
use crate::base::budget::ByteBudget;
use crate::base::crash;
use crate::model::offset::Offset;
use crate::record::convert::{Converted, Plan};
use crate::record::page::Page;
use crate::sources::{PageStream, SourceError};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A page on its way to the encoder.
pub struct Work {
    /// The page, kept for the journal.
    pub page: Page,
    /// Its identity, for the header of a journal that begins later.
    pub digest: PageDigest,
    /// Its records as the encoder takes them.
    pub converted: Converted,
    /// Whether it already lies in the journal (or before it, compared).
    pub replayed: bool,
}

/// What the pump sends, in the order of the pages.
pub type Item = Result<JoinHandle<Result<Work, TransferError>>, TransferError>;

/// Opens the lane at an offset.
pub type Open = Arc<dyn Fn(Offset) -> Result<PageStream, SourceError> + Send + Sync>;

/// Where the lane's pages come from, in order.
pub struct Feed {
    /// Name of the stream, for errors.
    pub stream: String,
    /// The lane's committed offset.
    pub from: Offset,
    /// Pages that the sample has already read, from the committed offset on.
    pub sampled: VecDeque<Page>,
    /// The source where the sample left it.
    pub opened: Option<PageStream>,
    /// The journal of the open segment.
    pub replay: Option<Replay>,
    /// Opens the source.
    pub open: Open,
}

/// What the pump needs beside its feed.
#[derive(Clone)]
pub struct Pump {
    /// Bounds the bytes between fetching and encoding.
    pub budget: ByteBudget,
    /// Converts.
    pub cpu: Cpu,
    /// How records become columns or lines.
    pub plan: Arc<Plan>,
}

impl Feed {
    fn source_error(&self, source: SourceError) -> TransferError {
        TransferError::Source { stream: self.stream.clone(), source }
    }

    /// Sends every page of the lane into `out`, then the replayed journal back through the returned value.
    pub async fn run(mut self, pump: Pump, out: mpsc::Sender<Item>) {
        let result = self.feed(&pump, &out).await;
        if let Err(error) = result {
            let _ = out.send(Err(error)).await;
        }
    }

    async fn feed(&mut self, pump: &Pump, out: &mpsc::Sender<Item>) -> Result<(), TransferError> {
        let mut at = self.from.clone();
        while let Some(page) = self.sampled.pop_front() {
            at = page.offset_after.clone();
            if !pump.send(page, false, out).await {
                return Ok(());
            }
        }
        let mut source = self.opened.take();
        if let Some(mut replay) = self.replay.take() {
            at = self.replay_journal(&mut replay, &mut source, pump, out, at).await?;
        }
        let mut source = match source {
            Some(source) => source,
            None => (self.open)(at).map_err(|error| self.source_error(error))?,
        };
        while let Some(page) = source.next().await.map_err(|error| self.source_error(error))? {
            crash::point("page.fetched");
            if !pump.send(page, false, out).await {
                break;
            }
        }
        Ok(())
    }

    /// Asks again for the pages before the journal, compares them, and goes on with the journal's own pages.
    async fn replay_journal(
        &self,
        replay: &mut Replay,
        source: &mut Option<PageStream>,
        pump: &Pump,
        out: &mpsc::Sender<Item>,
        mut at: Offset,
    ) -> Result<Offset, TransferError> {
        let before = replay.header.before.clone();
        if !before.is_empty() {
            let mut pages = (self.open)(at.clone()).map_err(|error| self.source_error(error))?;
            for digest in before {
                let page = pages.next().await.map_err(|error| self.source_error(error))?;
                let Some(page) = page.filter(|page| PageDigest::of(page) == digest) else {
                    return Err(TransferError::JournalDiffers);
                };
                at = page.offset_after.clone();
                if !pump.send(page, true, out).await {
                    return Ok(at);
                }
            }
            *source = Some(pages);
        }
        while let Some(page) = replay.next_page()? {
            if page.offset_before != at {
                return Err(TransferError::JournalDiffers);
            }
            at = page.offset_after.clone();
            *source = None;
            if !pump.send(page, true, out).await {
                break;
            }
        }
        Ok(at)
    }
}

impl Pump {
    /// Starts converting a page and sends its handle; false when nobody listens any more.
    async fn send(&self, mut page: Page, replayed: bool, out: &mpsc::Sender<Item>) -> bool {
        if page.permit.is_none() {
            page.permit = Some(self.budget.take(page.body.len() as u64).await);
        }
        let (cpu, plan) = (self.cpu.clone(), self.plan.clone());
        let work = tokio::spawn(async move {
            cpu.run(move || {
                let digest = PageDigest::of(&page);
                let converted = plan.convert(&page);
                Work { page, digest, converted, replayed }
            })
            .await
        });
        out.send(Ok(work)).await.is_ok()
    }
}
