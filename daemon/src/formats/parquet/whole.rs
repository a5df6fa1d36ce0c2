//! A row group of many columns: its pages are kept, and once it is whole its columns are encoded one after the other.
//!
//! A column writer owns a compressor and buffers of its own. With thousands of columns open at the same time those would take
//! more memory than the values, and making them anew for each row group more time than a tenth of the work.

use super::super::FormatError;
use super::small::Small;
use super::{SOURCE_PER_BYTE, refused};
use crate::base::pool::{Pool, Started};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_schema::{DataType, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type, TypePtr};
use std::io;
use std::sync::Arc;

/// Fields that are encoded by the same thread: their writers are there at the same time.
const SHARE: usize = 16;
/// Values of a column that are looked at to see whether it repeats itself.
const LOOKED_AT: usize = 256;

/// How the columns of every row group of a file are written.
pub struct Columns {
    /// The file's fields.
    schema: SchemaRef,
    /// The same in Parquet's words.
    root: TypePtr,
    properties: WriterPropertiesBuilder,
}

/// A row group that is not encoded yet.
pub struct WholeGroup {
    columns: Arc<Columns>,
    pages: Vec<RecordBatch>,
    small: Small,
    source: u64,
}

impl WholeGroup {
    /// An empty one.
    pub fn new(columns: Arc<Columns>) -> Self {
        Self { columns, pages: Vec::new(), small: Small::default(), source: 0 }
    }

    /// Adds a page that was made of so many bytes of JSON.
    pub fn write(&mut self, page: RecordBatch, source: u64) -> Result<(), FormatError> {
        self.source += source;
        self.pages.extend(self.small.add(page)?.into_iter().flatten());
        Ok(())
    }

    /// About the bytes that it will take.
    pub fn bytes(&self) -> u64 {
        self.source / SOURCE_PER_BYTE
    }

    /// Begins to encode it.
    pub fn encode(mut self, pool: &Pool) -> Result<Encoding, FormatError> {
        self.pages.extend(self.small.join()?);
        let Self { columns, pages, source, .. } = self;
        // The last share that is encoded frees the pages.
        let pages = Arc::new(pages);
        let shares = (0..columns.schema.fields().len()).step_by(SHARE).map(|first| (first, pages.clone())).collect();
        let encode = move |(first, pages): (usize, Arc<Vec<RecordBatch>>)| columns.encode(first, &pages);
        Ok(Encoding { shares: pool.start(shares, encode), source })
    }
}

/// A row group that is being encoded.
pub struct Encoding {
    shares: Started<Result<Vec<ArrowColumnChunk>, ParquetError>>,
    source: u64,
}

impl Encoding {
    /// About the bytes that it will take.
    pub fn bytes(&self) -> u64 {
        self.source / SOURCE_PER_BYTE
    }

    /// Its column chunks in the order of the file, when they are there.
    pub fn chunks(self) -> Result<Vec<ArrowColumnChunk>, FormatError> {
        let chunks = self.shares.wait().into_iter().collect::<Result<Vec<_>, _>>().map_err(refused)?;
        Ok(chunks.into_iter().flatten().collect())
    }
}

impl Columns {
    /// Of a file with these columns.
    pub fn new(schema: SchemaRef, root: TypePtr, properties: WriterPropertiesBuilder) -> Self {
        Self { schema, root, properties }
    }

    /// Encodes a share of the fields, from `first` on.
    fn encode(&self, first: usize, pages: &[RecordBatch]) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let last = (first + SHARE).min(self.schema.fields().len());
        let fields = self.schema.fields().get(first..last).unwrap_or_default();
        let types = self.root.get_fields().get(first..last).unwrap_or_default();
        let mut properties = self.properties.clone();
        for (field, n) in fields.iter().zip(first..) {
            if !repeats(n, field.data_type(), pages) {
                let path = ColumnPath::new(vec![field.name().clone()]);
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        let writers = writers(self.root.name(), (fields, types), properties.build())?;
        let mut writers = writers.into_iter();
        let mut chunks = Vec::with_capacity(writers.len());
        for (field, n) in fields.iter().zip(first..) {
            let mut own: Vec<ArrowColumnWriter> = Vec::new();
            for page in pages {
                for (leaf, values) in compute_leaves(field, page.column(n))?.iter().enumerate() {
                    if own.len() == leaf {
                        own.push(writers.next().ok_or_else(|| ParquetError::General("a column has no writer".into()))?);
                    }
                    own[leaf].write(values)?;
                }
            }
            for writer in own {
                chunks.push(writer.close()?);
            }
        }
        Ok(chunks)
    }
}

/// Writers of some of a file's columns, as if these were all. Where the chunks lie is settled when they are put into the file.
fn writers(
    root: &str,
    (fields, types): (&[arrow_schema::FieldRef], &[TypePtr]),
    properties: WriterProperties,
) -> Result<Vec<ArrowColumnWriter>, ParquetError> {
    let part = Type::group_type_builder(root).with_fields(types.to_vec()).build()?;
    let file = SerializedFileWriter::new(io::sink(), Arc::new(part), Arc::new(properties))?;
    let schema = Arc::new(Schema::new(fields.to_vec()));
    ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)
}

/// Whether a dictionary may help: measures seldom have the same value twice, and looking up each costs more than the encoding.
fn repeats(column: usize, kind: &DataType, pages: &[RecordBatch]) -> bool {
    if *kind != DataType::Float64 {
        return true;
    }
    let values = pages.iter().flat_map(|page| page.column(column).as_primitive::<Float64Type>().iter().flatten());
    let mut seen: Vec<u64> = values.take(LOOKED_AT).map(f64::to_bits).collect();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    seen.len() * 2 <= all
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Float64Array};

    #[test]
    fn only_floats_that_are_all_different_have_no_dictionary() {
        let page = |values: Vec<Option<f64>>| {
            let column: ArrayRef = Arc::new(Float64Array::from(values));
            RecordBatch::try_from_iter([("f", column)]).unwrap()
        };
        let of = |pages: &[RecordBatch]| repeats(0, &DataType::Float64, pages);
        let different = page((0..200).map(|n| (n % 2 == 0).then(|| f64::from(n) / 8.0)).collect());
        let same = page((0..200).map(|n| Some(f64::from(n % 9))).collect());
        assert!(!of(std::slice::from_ref(&different)) && of(std::slice::from_ref(&same)));
        assert!(!of(&[different.clone(), page(vec![None; 50])]) && of(&[page(vec![None; 50])]));
        assert!(of(&[same, different]), "the first ones say so");
    }
}
