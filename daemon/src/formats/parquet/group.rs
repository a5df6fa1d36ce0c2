//! A row group in the making: its columns in shares, which threads encode side by side, each in the order of the pages.

use super::super::FormatError;
use super::{SOURCE_PER_BYTE, refused};
use crate::base::clock;
use crate::base::pool::{Pool, Started};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
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
    schema: SchemaRef,
    /// Pages that wait to be encoded.
    pages: Vec<RecordBatch>,
    gathered: u64,
    /// JSON bytes of the pages that are being encoded.
    away: u64,
    encoded: u64,
}

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

/// Neighbouring fields of the schema, with the writers of all columns below them.
struct Share {
    first: usize,
    fields: usize,
    writers: Vec<ArrowColumnWriter>,
    /// What its last pages took: the longest are begun first, so that nobody is waited for at the end.
    took: Duration,
}

impl RowGroup {
    /// An empty row group, the `number`th of its file.
    pub fn new(columns: &ArrowRowGroupWriterFactory, number: usize, schema: &SchemaRef) -> Result<Self, FormatError> {
        let mut writers = columns.create_column_writers(number).map_err(refused)?.into_iter();
        let fields = schema.fields();
        let size = fields.len().div_ceil(SHARES).max(1);
        let mut shares = Vec::with_capacity(fields.len().div_ceil(size));
        for (n, part) in fields.chunks(size).enumerate() {
            let leaves = part.iter().map(|field| leaves(field.data_type())).sum();
            let writers = writers.by_ref().take(leaves).collect();
            shares.push(Share { first: n * size, fields: part.len(), writers, took: Duration::ZERO });
        }
        Ok(Self {
            shares: Shares::Idle(shares),
            schema: Arc::clone(schema),
            pages: Vec::new(),
            gathered: 0,
            away: 0,
            encoded: 0,
        })
    }

    /// Adds a page that was made of so many bytes of JSON.
    pub fn write(&mut self, page: RecordBatch, source: u64, pool: &Pool) -> Result<(), FormatError> {
        self.pages.push(page);
        self.gathered += source;
        if self.gathered >= GATHERED { self.encode(pool) } else { Ok(()) }
    }

    /// Begins to encode the pages that are gathered.
    fn encode(&mut self, pool: &Pool) -> Result<(), FormatError> {
        let (pages, schema) = (Arc::new(std::mem::take(&mut self.pages)), Arc::clone(&self.schema));
        let mut shares = std::mem::replace(&mut self.shares, Shares::Idle(Vec::new())).idle()?;
        let writers = shares.iter().flat_map(|share| &share.writers);
        self.encoded = writers.map(|writer| writer.get_estimated_total_bytes() as u64).sum();
        self.away = std::mem::take(&mut self.gathered);
        shares.sort_by_key(|share| Reverse(share.took));
        // The last share that is encoded frees the pages.
        let shares = shares.into_iter().map(|share| (share, pages.clone())).collect();
        let write = move |(share, pages): (Share, Arc<Vec<RecordBatch>>)| share.write(&schema, &pages);
        self.shares = Shares::Busy(pool.start(shares, write));
        Ok(())
    }

    /// About the bytes that it will take.
    pub fn bytes(&self) -> u64 {
        self.encoded + (self.away + self.gathered) / SOURCE_PER_BYTE
    }

    /// Ends its columns; their chunks in the order of the file.
    pub fn finish(mut self, pool: &Pool) -> Result<Vec<ArrowColumnChunk>, FormatError> {
        if !self.pages.is_empty() {
            self.encode(pool)?;
        }
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
    fn write(mut self, schema: &SchemaRef, pages: &[RecordBatch]) -> Result<Self, ParquetError> {
        let began = clock::monotonic();
        for page in pages {
            let mut writers = self.writers.iter_mut();
            let fields = schema.fields().iter().zip(page.columns()).skip(self.first).take(self.fields);
            for (field, column) in fields {
                for leaf in compute_leaves(field, column)? {
                    let writer =
                        writers.next().ok_or_else(|| ParquetError::General("a column has no writer".into()))?;
                    writer.write(&leaf)?;
                }
            }
        }
        self.took = clock::since(began);
        Ok(self)
    }
}

/// Columns below a field of this type.
fn leaves(kind: &arrow_schema::DataType) -> usize {
    use arrow_schema::DataType::{List, Struct};
    match kind {
        List(item) => leaves(item.data_type()),
        Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}
