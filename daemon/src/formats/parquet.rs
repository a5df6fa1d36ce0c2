//! Parquet: row groups that end at page ends, by rows and source bytes alone, so that memory stays flat and the same pages
//! give the same bytes.

mod splice;

use super::compress::{gzip_level, zstd_level};
use super::{FormatError, KeysError, ParquetKeys, SegmentEncoder, batch};
use crate::config::settings::{ParquetCompression, ParquetFormat};
use crate::record::convert::{Converted, Plan};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use std::io::{self, Write};
use std::sync::Arc;

pub use splice::splice;

/// The name and version of the writer, in the form that readers look for.
const CREATED_BY: &str = concat!("saas-export-daemon version ", env!("CARGO_PKG_VERSION"));

/// JSON makes about four times as many bytes as Parquet: a row group of that much source is about a whole segment.
const SOURCE_PER_BYTE: u64 = 4;

/// The bounds of the source bytes of a row group: below the first its overhead grows, above the second the memory that
/// its buffered columns take.
const ROW_GROUP_SOURCE: (u64, u64) = (64 << 10, 128 << 20);

/// Largest dictionary of a column chunk. Columns with more distinct values, mostly identifiers, are then written plainly
/// after a few thousand rows instead of many: measured, that is both faster and smaller than the library's 1 MiB.
const DICTIONARY: usize = 128 << 10;

/// Writes a segment.
pub struct Encoder {
    writer: ArrowWriter<Box<dyn Write + Send>>,
    most_rows: u64,
    most_source: u64,
    rows: u64,
    source: u64,
    counted: u64,
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
        if let Some(keys) = keys {
            let schema = ArrowSchemaConverter::new().convert(plan.arrow_schema()).map_err(refused)?;
            properties = properties.with_file_encryption_properties(keys.properties(&schema)?);
        }
        let properties = properties.build();
        // Parquet's own types say all that there is to say; the copy of the Arrow schema would only double the footer.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer =
            ArrowWriter::try_new_with_options(writer, Arc::clone(plan.arrow_schema()), options).map_err(refused)?;
        let most_source = chunk_size.saturating_mul(SOURCE_PER_BYTE).clamp(ROW_GROUP_SOURCE.0, ROW_GROUP_SOURCE.1);
        Ok(Self { writer, most_rows: settings.row_group_rows.into(), most_source, rows: 0, source: 0, counted: 0 })
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
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_statistics_enabled(EnabledStatistics::Chunk))
}

impl SegmentEncoder for Encoder {
    fn write(&mut self, page: Converted) -> Result<(), FormatError> {
        let source = page.source_bytes;
        let batch = batch(page, "parquet")?;
        self.writer.write(&batch).map_err(refused)?;
        self.rows += batch.num_rows() as u64;
        self.source += source;
        if self.rows > 0 && (self.rows >= self.most_rows || self.source >= self.most_source) {
            self.writer.flush().map_err(refused)?;
            self.counted = self.writer.bytes_written() as u64;
            (self.rows, self.source) = (0, 0);
        }
        Ok(())
    }

    fn counted_bytes(&self) -> u64 {
        self.counted
    }

    fn growing_bytes(&self) -> u64 {
        self.counted + self.writer.in_progress_size() as u64
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
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
