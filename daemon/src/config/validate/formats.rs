//! File formats of exports: how hard they compress, and whether one file can be made of their parts.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{
    AvroCompression, Export, FileLayout, Format, ParquetCompression, Source, TextCompression,
};

/// What a level may be, with the word of the compression; none where the compression has no levels.
fn levels(format: &Format) -> (Option<u8>, Option<(&'static str, u8)>) {
    const GZIP: Option<(&str, u8)> = Some(("gzip", 9));
    const DEFLATE: Option<(&str, u8)> = Some(("deflate", 9));
    const ZSTD: Option<(&str, u8)> = Some(("zstd", 19));
    match format {
        Format::Parquet(f) => match f.compression {
            ParquetCompression::None | ParquetCompression::Snappy => (f.level, None),
            ParquetCompression::Gzip => (f.level, GZIP),
            ParquetCompression::Zstd => (f.level, ZSTD),
        },
        Format::Avro(f) => match f.compression {
            AvroCompression::None | AvroCompression::Snappy => (f.level, None),
            AvroCompression::Deflate => (f.level, DEFLATE),
            AvroCompression::Zstd => (f.level, ZSTD),
        },
        Format::Csv(f) | Format::Ndjson(f) | Format::Json(f) => match f.compression {
            TextCompression::None => (f.level, None),
            TextCompression::Gzip => (f.level, GZIP),
            TextCompression::Zstd => (f.level, ZSTD),
        },
    }
}

/// Whether the columns of a Parquet file are encrypted one by one. Their modules are bound to their places in their file, so
/// that no row group can move to another one.
fn is_sealed(format: &Format) -> bool {
    let written = serde_json::to_value(format).unwrap_or_default();
    written.pointer("/parquet/encryption").is_some_and(|encryption| !encryption.is_null())
}

impl Check<'_> {
    pub(super) fn files(&mut self, path: &KeyPath, export: &Export) {
        self.level(&path.key("format").key(export.format.word()).key("level"), &export.format);
        if export.layout != FileLayout::Single {
            return;
        }
        let here = path.key("layout");
        if is_sealed(&export.format) {
            let mistake = Mistake::value(&here, "a single file cannot be made of encrypted Parquet parts");
            let other = path.key("format").key("parquet").key("encryption");
            self.wrong(mistake.about(other).hint("use layout: parts, or encrypt whole files"));
        }
        if let Some(stream) = self.named_like_a_part(export) {
            let message = format!("the file of stream {stream:?} would have the name of a part");
            self.wrong(Mistake::value(&here, message).hint("use layout: parts, or give the stream another name"));
        }
    }

    fn level(&mut self, path: &KeyPath, format: &Format) {
        let (Some(level), most) = levels(format) else { return };
        match most {
            None => {
                let compression = format.compression().unwrap_or_else(|| "none".to_owned());
                let mistake = Mistake::value(path, format!("compression {compression} has no levels"));
                self.wrong(mistake.hint("choose a compression that has them, or leave it out"));
            }
            Some((word, most)) if level > most => {
                let mistake = Mistake::value(path, format!("{word} has no level {level}"));
                self.wrong(mistake.hint(format!("use 1 to {most}")));
            }
            Some(_) => {}
        }
    }

    /// A stream of the export whose single file would be taken for a part.
    fn named_like_a_part(&self, export: &Export) -> Option<String> {
        let own = export.streams.iter();
        let all = match self.config.sources.get(&export.source) {
            Some(Source::Rest(rest)) if export.streams.is_empty() => Some(rest.streams.keys()),
            _ => None,
        };
        let mut names = own.chain(all.into_iter().flatten());
        names.find(|name| name.as_str().starts_with("part-")).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_with_levels_says_its_largest() {
        for word in ["parquet", "avro", "csv", "ndjson", "json"] {
            let format = Format::from_word(word).unwrap();
            let (level, most) = levels(&format);
            assert_eq!(level, None);
            assert_eq!(most.is_some(), format.compression().is_some(), "{word}: only defaults that have levels");
            assert!(!is_sealed(&format));
        }
    }
}
