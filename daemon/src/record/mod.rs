//! Records: raw JSON slices of a page, the schema of a task, and the conversion from one to the other.

pub mod page;
pub mod convert;
