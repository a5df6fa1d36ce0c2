//! A row group in the making: its columns in shares, which threads encode side by side, each in the order of the pages.

use super::super::FormatError;
use super::small::Small;
use super::{SOURCE_PER_BYTE, refused};
use crate::base::clock;
use crate::base::pool::{Pool, Started};
use arrow_array::RecordBatch;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// Most shares: enough to keep threads evenly busy, few enough that handing them out costs nothing.
const SHARES: usize = 64;

/// JSON bytes of pages that are gathered before their columns are encoded, so that a share is worth handing out.
const GATHERED: u64 = 4 << 20;

/// The columns of a row group that is not written yet.
pub struct RowGroup {
    shares: Shares,
    columns: usize,
    /// Pages that wait to be encoded.
    pages: Vec<Page>,
    small: Small,
    gathered: u64,
    /// JSON bytes of the pages that are being encoded.
    away: u64,
    encoded: u64,
}

/// The columns of a page, those within lists and structs each by itself, with their levels.
type Page = Vec<ArrowLeafColumn>;

/// The shares of a row group's columns.
enum Shares {
    /// Ready to take pages.
    Idle(Vec<Share>),
    /// Taking pages, while the next are gathered.
    Busy(Started<Result<Share, ParquetError>>),
}

impl Shares {
    /// The shares when they have taken what they were given.
    fn idle(self) -> Result<Vec<Share>, FormatError> {
        match self {
            Self::Idle(shares) => Ok(shares),
            Self::Busy(started) => started.wait().into_iter().collect::<Result<_, _>>().map_err(refused),
        }
    }
}

/// Writers of neighbouring columns. (Of columns and not of fields: one field may have most of what there is to do.)
struct Share {
    first: usize,
    writers: Vec<ArrowColumnWriter>,
    /// What its last pages took: the longest are begun first, so that nobody is waited for at the end.
    took: Duration,
}

impl RowGroup {
    /// An empty row group, the `number`th of its file.
    pub fn new(columns: &ArrowRowGroupWriterFactory, number: usize) -> Result<Self, FormatError> {
        let writers = columns.create_column_writers(number).map_err(refused)?;
        let (columns, size) = (writers.len(), writers.len().div_ceil(SHARES).max(1));
        let mut writers = writers.into_iter();
        let share = |first| Share { first, writers: writers.by_ref().take(size).collect(), took: Duration::ZERO };
        let shares = Shares::Idle((0..columns).step_by(size).map(share).collect());
        Ok(Self { shares, columns, pages: Vec::new(), small: Small::default(), gathered: 0, away: 0, encoded: 0 })
    }

    /// Adds a page that was made of so many bytes of JSON.
    pub fn write(&mut self, page: RecordBatch, source: u64, pool: &Pool) -> Result<(), FormatError> {
        for page in self.small.add(page)?.into_iter().flatten() {
            self.add(&page)?;
        }
        self.gathered += source;
        if self.gathered >= GATHERED { self.encode(pool) } else { Ok(()) }
    }

    fn add(&mut self, page: &RecordBatch) -> Result<(), FormatError> {
        let mut columns = Vec::with_capacity(self.columns);
        for (field, column) in page.schema_ref().fields().iter().zip(page.columns()) {
            columns.extend(compute_leaves(field, column).map_err(refused)?);
        }
        if columns.len() != self.columns {
            return Err(refused(ParquetError::General("not every column has a writer".into())));
        }
        self.pages.push(columns);
        Ok(())
    }

    /// Begins to encode the pages that are gathered.
    fn encode(&mut self, pool: &Pool) -> Result<(), FormatError> {
        if let Some(page) = self.small.join()? {
            self.add(&page)?;
        }
        let pages = Arc::new(std::mem::take(&mut self.pages));
        let mut shares = std::mem::replace(&mut self.shares, Shares::Idle(Vec::new())).idle()?;
        let writers = shares.iter().flat_map(|share| &share.writers);
        self.encoded = writers.map(|writer| writer.get_estimated_total_bytes() as u64).sum();
        self.away = std::mem::take(&mut self.gathered);
        shares.sort_by_key(|share| Reverse(share.took));
        // The last share that is encoded frees the pages.
        let shares = shares.into_iter().map(|share| (share, pages.clone())).collect();
        self.shares = Shares::Busy(pool.start(shares, |(share, pages): (Share, Arc<Vec<Page>>)| share.write(&pages)));
        Ok(())
    }

    /// About the bytes that it will take.
    pub fn bytes(&self) -> u64 {
        self.encoded + (self.away + self.gathered) / SOURCE_PER_BYTE
    }

    /// Ends its columns; their chunks in the order of the file.
    pub fn finish(mut self, pool: &Pool) -> Result<Vec<ArrowColumnChunk>, FormatError> {
        self.encode(pool)?;
        let mut shares = self.shares.idle()?;
        shares.sort_by_key(|share| share.first);
        let close =
            |share: Share| share.writers.into_iter().map(ArrowColumnWriter::close).collect::<Result<Vec<_>, _>>();
        let chunks = pool.share(shares, close).into_iter().collect::<Result<Vec<_>, _>>().map_err(refused)?;
        Ok(chunks.into_iter().flatten().collect())
    }
}

impl Share {
    /// Encodes its columns of some pages. The bytes depend on where pages end, so each is written by itself.
    fn write(mut self, pages: &[Page]) -> Result<Self, ParquetError> {
        let began = clock::monotonic();
        for page in pages {
            for (writer, column) in self.writers.iter_mut().zip(page.iter().skip(self.first)) {
                writer.write(column)?;
            }
        }
        self.took = clock::since(began);
        Ok(self)
    }
}
