//! Parquet: row groups that end at page ends, by rows and source bytes alone, so that memory stays flat and the same pages
//! give the same bytes.

mod group;
mod small;
mod splice;
mod whole;

use super::compress::{gzip_level, zstd_level};
use super::{AHEAD, FormatError, KeysError, ParquetKeys, SegmentEncoder, batch};
use crate::base::pool::Pool;
use crate::config::settings::{ParquetCompression, ParquetFormat};
use crate::record::convert::{Converted, Plan};
use group::RowGroup;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use std::io::{self, Write};
use std::sync::Arc;

pub use splice::splice;

use whole::{Columns, Encoding, WholeGroup};

/// The name and version of the writer, in the form that readers look for.
const CREATED_BY: &str = concat!("saas-export-daemon version ", env!("CARGO_PKG_VERSION"));

/// JSON makes about four times as many bytes as Parquet: a row group of that much source is about a whole segment.
const SOURCE_PER_BYTE: u64 = 4;

/// The bounds of the source bytes of a row group: below the first its overhead grows, above the second the memory that its
/// buffered columns take, and with it the difference between a short export and a long one.
const ROW_GROUP_SOURCE: (u64, u64) = (64 << 10, 64 << 20);

/// The upper bound where there are many columns: each costs a compressor, and a dictionary, in every row group.
const WHOLE_GROUP_SOURCE: u64 = 128 << 20;

/// Largest dictionary of a column chunk. Columns with more distinct values, mostly identifiers, are then written plainly
/// after a few thousand rows instead of many: measured, that is both faster and smaller than the library's 1 MiB.
const DICTIONARY: usize = 128 << 10;

/// Largest data page before compression. It and what it becomes stay in a processor's cache, and their memory is used again by the
/// next one: measured, a twelfth faster than with the library's 1 MiB, and the files a hundredth larger.
const DATA_PAGE: usize = 256 << 10;

/// Columns from which on a row group is encoded only when it is whole.
const MANY: usize = 256;

/// Writes a segment. The columns of a row group are encoded side by side.
pub struct Encoder {
    writer: SerializedFileWriter<Box<dyn Write + Send>>,
    columns: ArrowRowGroupWriterFactory,
    /// What encodes whole row groups, where there are many columns.
    whole: Option<Arc<Columns>>,
    /// The open row group.
    group: Option<Group>,
    /// The whole one before it, until it is encoded.
    encoding: Option<Encoding>,
    /// Whether a whole row group is encoded while the next one comes.
    ahead: bool,
    most_rows: u64,
    most_source: u64,
    rows: u64,
    source: u64,
    counted: u64,
}

/// The open row group.
enum Group {
    /// Encoded while it grows.
    Growing(RowGroup),
    /// Encoded once it is whole.
    Whole(WholeGroup),
}

impl Encoder {
    /// Starts a file. Without the keys that its settings ask for there is none: it would be plain.
    pub fn new(
        (settings, keys): (&ParquetFormat, Option<&ParquetKeys>),
        plan: &Plan,
        chunk_size: u64,
        writer: Box<dyn Write + Send>,
    ) -> Result<Self, FormatError> {
        if settings.encryption.is_some() != keys.is_some() {
            return Err(KeysError::Refused.into());
        }
        let mut properties = properties(settings)?;
        let apart = properties.clone();
        // Parquet's own types say all that there is to say; a copy of the Arrow schema would only double the footer.
        let parquet_schema = ArrowSchemaConverter::new().convert(plan.arrow_schema()).map_err(refused)?;
        if let Some(keys) = keys {
            properties = properties.with_file_encryption_properties(keys.properties(&parquet_schema)?);
        }
        let properties = Arc::new(properties.build());
        let root = parquet_schema.root_schema_ptr();
        let writer = SerializedFileWriter::new(writer, root, properties).map_err(refused)?;
        let columns = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(plan.arrow_schema()));
        // An encrypted column is bound to its place in the file, which only the writer of the whole file knows.
        let whole = keys.is_none() && parquet_schema.num_columns() >= MANY;
        let whole = whole
            .then(|| Arc::new(Columns::new(Arc::clone(plan.arrow_schema()), parquet_schema.root_schema_ptr(), apart)));
        let ahead = whole.is_some() && chunk_size >= AHEAD;
        // What counts when the next one is whole is to be half of a segment at most.
        let per_byte = if ahead { SOURCE_PER_BYTE / 2 } else { SOURCE_PER_BYTE };
        let most = if ahead { WHOLE_GROUP_SOURCE } else { ROW_GROUP_SOURCE.1 };
        let most_source = chunk_size.saturating_mul(per_byte).clamp(ROW_GROUP_SOURCE.0, most);
        let most_rows = settings.row_group_rows.into();
        Ok(Self {
            writer,
            columns,
            whole,
            group: None,
            encoding: None,
            ahead,
            most_rows,
            most_source,
            rows: 0,
            source: 0,
            counted: 0,
        })
    }

    /// Ends the open row group. One of a large segment that waited until it is whole is written when the next one is.
    fn end_group(&mut self, pool: &Pool) -> Result<(), FormatError> {
        (self.rows, self.source) = (0, 0);
        match self.group.take() {
            None => Ok(()),
            Some(Group::Growing(group)) => self.append(group.finish(pool)?),
            Some(Group::Whole(group)) => {
                self.end_encoding()?;
                self.encoding = Some(group.encode(pool)?);
                if self.ahead { Ok(()) } else { self.end_encoding() }
            }
        }
    }

    /// Writes the row group that is being encoded.
    fn end_encoding(&mut self) -> Result<(), FormatError> {
        match self.encoding.take() {
            None => Ok(()),
            Some(encoding) => self.append(encoding.chunks()?),
        }
    }

    /// Writes a row group.
    fn append(&mut self, chunks: Vec<ArrowColumnChunk>) -> Result<(), FormatError> {
        let mut row_group = self.writer.next_row_group().map_err(refused)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group).map_err(refused)?;
        }
        row_group.close().map_err(refused)?;
        self.counted = self.writer.bytes_written() as u64;
        Ok(())
    }
}

/// How a file is written.
fn properties(settings: &ParquetFormat) -> Result<WriterPropertiesBuilder, FormatError> {
    let compression = match settings.compression {
        ParquetCompression::None => Compression::UNCOMPRESSED,
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Gzip => {
            Compression::GZIP(GzipLevel::try_new(gzip_level(settings.level).level()).map_err(refused)?)
        }
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::try_new(zstd_level(settings.level)).map_err(refused)?),
    };
    Ok(WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(compression)
        // The encoder ends row groups itself.
        .set_max_row_group_row_count(None)
        .set_data_page_size_limit(DATA_PAGE)
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_statistics_enabled(EnabledStatistics::Chunk))
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted, pool: &Pool) -> Result<(), FormatError> {
        let source = page.source_bytes;
        let batch = batch(page, "parquet")?;
        self.rows += batch.num_rows() as u64;
        self.source += source;
        if batch.num_rows() > 0 {
            let group = match &mut self.group {
                Some(group) => group,
                none => none.insert(match &self.whole {
                    Some(columns) => Group::Whole(WholeGroup::new(columns.clone())),
                    None => {
                        let number = self.writer.flushed_row_groups().len();
                        Group::Growing(RowGroup::new(&self.columns, number)?)
                    }
                }),
            };
            match group {
                Group::Growing(group) => group.write(batch, source, pool)?,
                Group::Whole(group) => group.write(batch, source)?,
            }
        }
        if self.rows > 0 && (self.rows >= self.most_rows || self.source >= self.most_source) {
            self.end_group(pool)?;
        }
        Ok(())
    }

    fn counted_bytes(&self) -> u64 {
        self.counted
    }

    fn growing_bytes(&self) -> u64 {
        let open = match &self.group {
            Some(Group::Growing(group)) => group.bytes(),
            Some(Group::Whole(group)) => group.bytes(),
            None => 0,
        };
        self.counted + self.encoding.as_ref().map_or(0, Encoding::bytes) + open
    }

    fn finish(mut self: Box<Self>, pool: &Pool) -> Result<(), FormatError> {
        self.end_group(pool)?;
        self.end_encoding()?;
        self.writer.finish().map_err(refused)?;
        Ok(self.writer.inner_mut().flush()?)
    }
}

/// The library's error without its message, which may hold data.
fn refused(error: ParquetError) -> FormatError {
    let message = match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => return FormatError::Io(*error),
            Err(_) => "an error from outside",
        },
        ParquetError::NYI(_) => "something is not implemented",
        ParquetError::ArrowError(_) => "the columns are not what they should be",
        ParquetError::EOF(_) => "the file ends too early",
        _ => "the library refused it",
    };
    FormatError::Encode { format: "parquet", message: message.to_owned() }
}
