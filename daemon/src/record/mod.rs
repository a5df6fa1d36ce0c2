//! Records: raw JSON slices of a page, the schema of a task, and the conversion from one to the other.

pub mod convert;
pub mod field;
pub mod follow;
pub mod identity;
pub mod infer;
pub mod json;
pub mod locate;
pub mod page;
pub mod rules;
pub mod scalar;
pub mod transform;
