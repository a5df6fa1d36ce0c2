//! What is done with a record that does not fit, and the first thing in it that does not.

use super::rescue::Segment;

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum React {
    /// The record stays; what does not fit is rescued.
    #[default]
    Keep,
    /// The record is rejected.
    Reject,
    /// The task fails.
    Fail,
}

/// What is done with each kind of misfit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// A field without a column.
    pub fields: React,
    /// A value that its column does not take.
    pub types: React,
}

/// Why a value was rescued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// There is no column for the field.
    Field,
    /// The column does not take the value.
    Type,
    /// Until now only nulls were seen in the field: no type changes.
    First,
}

/// The record that ends the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Position in the page, from 0.
    pub index: u32,
    /// Why, without data.
    pub reason: String,
}

/// Characters of a field's path that a reason repeats.
const MAX_SHOWN: usize = 200;

impl Fit {
    /// What is done with a misfit.
    pub fn react(self, misfit: Misfit) -> React {
        match misfit {
            Misfit::Field => self.fields,
            Misfit::Type => self.types,
            Misfit::First => React::Keep,
        }
    }
}

impl Misfit {
    /// The sentence about a field that does not fit.
    pub fn reason(self, path: &[Segment], last: &Segment) -> String {
        let mut shown = String::new();
        for segment in path.iter().chain(std::iter::once(last)) {
            let name = match segment {
                Segment::Name(name) => (*name).into(),
                Segment::Key(name) => String::from_utf8_lossy(name),
                Segment::Index(_) => continue,
            };
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&name);
        }
        let shown: String = shown.chars().take(MAX_SHOWN).collect();
        match self {
            Self::Field => format!("its field {shown:?} is not in the schema"),
            Self::Type | Self::First => format!("its field {shown:?} is not of the type that the schema says"),
        }
    }
}
