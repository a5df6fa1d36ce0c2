//! One Parquet file from several: their row groups as they are, one after the other, below a footer of its own.

use super::super::single::PartFile;
use super::{CREATED_BY, FormatError, refused};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use std::io::Write;
use std::sync::Arc;

/// Writes one file with the row groups of `parts`, which have one schema. Column chunks are copied; what grows with the file
/// is its footer alone.
pub fn splice(
    parts: impl Iterator<Item = std::io::Result<PartFile>>,
    out: &mut (dyn Write + Send),
) -> Result<(), FormatError> {
    let mut parts = parts.peekable();
    let Some(first) = parts.next() else { return Ok(()) };
    let first = first?;
    let metadata = footer(&first)?;
    let schema = metadata.file_metadata().schema_descr().root_schema_ptr();
    let properties = WriterProperties::builder().set_created_by(CREATED_BY.to_owned()).build();
    let mut writer = SerializedFileWriter::new(out, Arc::clone(&schema), Arc::new(properties)).map_err(refused)?;
    add(&mut writer, &first, &metadata)?;
    for part in parts {
        let part = part?;
        let metadata = footer(&part)?;
        if metadata.file_metadata().schema() != schema.as_ref() {
            let message = "the parts of a single file have different schemas".to_owned();
            return Err(FormatError::Encode { format: "parquet", message });
        }
        add(&mut writer, &part, &metadata)?;
    }
    writer.finish().map_err(refused)?;
    Ok(())
}

fn footer(part: &PartFile) -> Result<ParquetMetaData, FormatError> {
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(part)
        .map_err(refused)
}

/// Copies every row group of a part.
fn add<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    part: &PartFile,
    metadata: &ParquetMetaData,
) -> Result<(), FormatError> {
    let index = metadata.page_index();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let mut copy = writer.next_row_group().map_err(refused)?;
        for (column, chunk) in group.columns().iter().enumerate() {
            let close = ColumnCloseResult {
                bytes_written: chunk.compressed_size().try_into().unwrap_or_default(),
                rows_written: group.num_rows().try_into().unwrap_or_default(),
                metadata: chunk.clone(),
                // None is ever written.
                bloom_filter: None,
                column_index: index.and_then(|index| index.column_index(number, column)).cloned(),
                offset_index: index.and_then(|index| index.offset_index(number, column)).cloned(),
            };
            copy.append_column(part, close).map_err(refused)?;
        }
        copy.close().map_err(refused)?;
    }
    Ok(())
}
