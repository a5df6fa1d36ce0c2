//! How far an upload is: what must survive a crash so that only the missing parts travel again (promise 6).

/// An upload that was begun and neither completed nor given up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// The destination's own name for it: a multipart upload's id, a temporary file.
    pub id: String,
    /// Size in bytes of every part but the last; a resumed upload keeps it.
    pub part_size: u64,
    /// The parts that arrived, by number.
    pub parts: Vec<Part>,
}

/// A part that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Its size.
    pub bytes: u64,
    /// Its checksum, as the destination writes it.
    pub checksum: String,
    /// The destination's tag of it; empty where there is none.
    pub etag: String,
}
