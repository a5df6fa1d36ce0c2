//! What was seen of each field: a set of kinds, from which the type follows.

use crate::model::schema::{Field, MAX_COLUMNS, MAX_NESTED_FIELDS, RESCUED, Type};
use crate::record::json::{JsonError, Scanner};
use crate::record::scalar;
use std::collections::HashMap;

/// Longest name of a column in bytes; a longer one is no name, and its field stays in the rescue column.
const MAX_NAME: usize = 1_024;

/// Deepest nesting of columns; what lies deeper is kept as text.
const MAX_NESTING: u32 = 32;

/// Fields in all, nested ones included: a bound for what a hostile sample can make a schema hold.
const MAX_FIELDS: u32 = 20_000;

const BOOLEAN: u16 = 1;
const INTEGER: u16 = 1 << 1;
/// Written with a point or an exponent.
const FLOAT: u16 = 1 << 2;
/// Whole, beyond i64, but an f64 can give it back.
const BIG: u16 = 1 << 3;
/// Whole, beyond i64 and f64.
const HUGE: u16 = 1 << 4;
const TEXT: u16 = 1 << 5;
const TIMESTAMP: u16 = 1 << 6;
const DATE: u16 = 1 << 7;
const OBJECT: u16 = 1 << 8;
const ARRAY: u16 = 1 << 9;
/// Too many fields or too deep to be columns.
const IRREGULAR: u16 = 1 << 10;

/// How many more fields may be remembered.
#[derive(Debug)]
pub struct Room(u32);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_FIELDS)
    }
}

/// What was seen of one field.
#[derive(Debug, Default)]
struct Shape {
    kinds: u16,
    fields: Shapes,
    item: Option<Box<Shape>>,
}

/// What was seen of the fields of an object.
#[derive(Debug, Default)]
pub struct Shapes {
    fields: Vec<(String, Shape)>,
    index: HashMap<String, usize>,
    /// Where the next field is looked for first: objects mostly have theirs in the same order.
    next: usize,
}

impl Shapes {
    /// Looks at a record; one that cannot be read tells nothing further.
    pub fn object(&mut self, raw: &[u8], room: &mut Room) {
        let mut scanner = Scanner::new(raw);
        if scanner.skip_whitespace() == b'{' {
            let _ = self.members(&mut scanner, MAX_COLUMNS, room);
        }
    }

    /// Looks at a value of a top-level field.
    pub fn field(&mut self, name: &[u8], raw: &[u8], room: &mut Room) {
        if let Some(shape) = self.shape_of(name, MAX_COLUMNS, room) {
            let _ = shape.value(&mut Scanner::new(raw), room);
        }
    }

    /// The columns.
    pub fn to_fields(&self) -> Vec<Field> {
        self.fields.iter().map(|(name, shape)| Field { name: name.clone(), kind: shape.to_type() }).collect()
    }

    /// What was seen of a field; none if it cannot become a column.
    fn shape_of(&mut self, name: &[u8], most: usize, room: &mut Room) -> Option<&mut Shape> {
        let expected = self.fields.get(self.next).is_some_and(|(field, _)| field.as_bytes() == name);
        let at = if expected { self.next } else { self.find(name, most, room)? };
        self.next = at + 1;
        self.fields.get_mut(at).map(|(_, shape)| shape)
    }

    /// Where a field is, which may be a new one.
    fn find(&mut self, name: &[u8], most: usize, room: &mut Room) -> Option<usize> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(at) = self.index.get(name) {
            return Some(*at);
        }
        if self.fields.len() >= most || room.0 == 0 || name.len() > MAX_NAME {
            return None;
        }
        room.0 -= 1;
        let at = self.fields.len();
        self.fields.push((name.to_owned(), Shape::default()));
        self.index.insert(name.to_owned(), at);
        Some(at)
    }

    /// Reads the members of the object here, of which at most `most` can have a column. Whether all of them have one; a
    /// name that no text stands for cannot be a column, but says nothing about the others.
    fn members(&mut self, scanner: &mut Scanner, most: usize, room: &mut Room) -> Result<bool, JsonError> {
        let mut scratch = Vec::new();
        let mut all = true;
        self.next = 0;
        if !scanner.open(b'{')? {
            return Ok(all);
        }
        let top = most == MAX_COLUMNS;
        loop {
            let key = scanner.key()?;
            let name = key.decode(&mut scratch).ok().filter(|name| !top || *name != RESCUED.as_bytes());
            match name.and_then(|name| self.shape_of(name, most, room)) {
                Some(shape) => shape.value(scanner, room)?,
                None => {
                    all &= name.is_none();
                    scanner.skip_value()?;
                }
            }
            if !scanner.more(b'}')? {
                return Ok(all);
            }
        }
    }
}

impl Shape {
    /// Looks at the value here.
    fn value(&mut self, scanner: &mut Scanner, room: &mut Room) -> Result<(), JsonError> {
        let first = scanner.skip_whitespace();
        if matches!(first, b'{' | b'[') && scanner.depth() >= MAX_NESTING {
            self.kinds |= IRREGULAR;
        }
        match first {
            b'{' | b'[' if self.kinds & IRREGULAR != 0 => {
                scanner.skip_value()?;
            }
            b'{' => {
                let all = self.fields.members(scanner, MAX_NESTED_FIELDS, room)?;
                self.kinds |= OBJECT | if all { 0 } else { IRREGULAR };
            }
            b'[' => self.array(scanner, room)?,
            b'"' => self.text(scanner)?,
            b'n' => scanner.word(b"null")?,
            b't' | b'f' => {
                scanner.skip_value()?;
                self.kinds |= BOOLEAN;
            }
            _ => self.kinds |= kind_of_number(scanner.number()?),
        }
        Ok(())
    }

    fn text(&mut self, scanner: &mut Scanner) -> Result<(), JsonError> {
        let token = scanner.string()?;
        self.kinds |= if self.kinds & TEXT != 0 || token.escaped {
            TEXT
        } else if scalar::date(token.raw).is_some() {
            DATE
        } else if scalar::timestamp(token.raw).is_some() {
            TIMESTAMP
        } else {
            TEXT
        };
        Ok(())
    }

    fn array(&mut self, scanner: &mut Scanner, room: &mut Room) -> Result<(), JsonError> {
        self.kinds |= ARRAY;
        let item = self.item.get_or_insert_default();
        if scanner.open(b'[')? {
            loop {
                item.value(scanner, room)?;
                if !scanner.more(b']')? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn to_type(&self) -> Type {
        let only = |kinds: u16| self.kinds & !kinds == 0;
        if self.kinds == 0 {
            Type::Unknown
        } else if only(BOOLEAN) {
            Type::Boolean
        } else if only(INTEGER) {
            Type::Integer
        } else if only(INTEGER | FLOAT | BIG) && self.kinds & FLOAT != 0 {
            Type::Float
        } else if only(TIMESTAMP) {
            Type::Timestamp
        } else if only(DATE) {
            Type::Date
        } else if only(TEXT | TIMESTAMP | DATE) {
            Type::String
        } else if only(OBJECT) {
            Type::Struct(self.fields.to_fields())
        } else if only(ARRAY) {
            Type::List(Box::new(self.item.as_ref().map_or(Type::Unknown, |item| item.to_type())))
        } else {
            Type::Json
        }
    }
}

fn kind_of_number(token: &[u8]) -> u16 {
    if scalar::integer(token).is_some() || token == b"-0" {
        INTEGER
    } else if token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        FLOAT
    } else if scalar::float(token).is_some() {
        BIG
    } else {
        HUGE
    }
}
