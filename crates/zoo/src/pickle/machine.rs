//! The operations of a pickle. Their codes are those of Python's `pickle.py`.

use std::collections::HashMap;

use kiln_util::shown;

use super::cursor::Cursor;
use super::value::{Global, Object, Objects, Value};
use crate::error::ReadError;

/// Most operations that are read: five times those of a network with 1,000 tensors.
pub(crate) const MAX_OPERATIONS: usize = 1 << 18;

/// A value that was read, with the objects it refers to.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub root: Value<'a>,
    pub objects: Objects<'a>,
    /// Offset of the byte after the pickle.
    pub end: usize,
}

/// Reads the pickle that begins at byte `at`. `storages` is whether it may refer to storages beside it, as
/// those of `PyTorch` do.
pub(crate) fn load(bytes: &[u8], at: usize, storages: bool) -> Result<Pickle<'_>, ReadError> {
    let mut machine = Machine {
        cursor: Cursor::new(bytes, at),
        at,
        storages,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
    };
    for _ in 0..MAX_OPERATIONS {
        if let Some(root) = machine.step()? {
            return Ok(Pickle {
                root,
                objects: machine.objects,
                end: machine.cursor.at(),
            });
        }
    }
    Err(ReadError::Limit {
        what: "operations in a pickle",
        limit: MAX_OPERATIONS,
    })
}

pub(super) struct Machine<'a> {
    cursor: Cursor<'a>,
    /// Offset of the current operation.
    at: usize,
    storages: bool,
    stack: Vec<Value<'a>>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub objects: Objects<'a>,
}

impl<'a> Machine<'a> {
    /// Carries out the next operation; returns the result at the end.
    fn step(&mut self) -> Result<Option<Value<'a>>, ReadError> {
        self.at = self.cursor.at();
        let opcode = self.cursor.byte()?;
        match opcode {
            // PROTO: the operations tell what is needed.
            0x80 => {
                self.cursor.byte()?;
            }
            // FRAME: a hint on how much to read at once.
            0x95 => {
                self.cursor.array::<8>()?;
            }
            b'.' => return self.pop("a value").map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop("a value")?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.pop("a value")?;
                self.stack.extend([top, top]);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'F' | b'G' => {
                let number = self.number(opcode)?;
                self.stack.push(number);
            }
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d | b'B' | b'C' | 0x8e | 0x96 => {
                let text = self.text_or_bytes(opcode)?;
                self.stack.push(text);
            }
            b']' | b'l' | b'}' | b'd' | b')' | b't' | 0x85..=0x87 => {
                let object = self.container(opcode)?;
                self.push(object);
            }
            b'a' => {
                let value = self.pop("a value")?;
                self.append([value])?;
            }
            b'e' => {
                let values = self.pop_mark()?;
                self.append(values)?;
            }
            b's' => {
                let value = self.pop("a value")?;
                let key = self.pop("a key")?;
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
            }
            b'g' | b'h' | b'j' | b'p' | b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'c' => {
                let module = self.cursor.line()?;
                let name = self.cursor.line()?;
                self.global(Value::Bytes(module), Value::Bytes(name))?;
            }
            0x93 => {
                let name = self.pop("a name")?;
                let module = self.pop("a module")?;
                self.global(module, name)?;
            }
            b'R' => {
                let arguments = self.pop("arguments")?;
                let function = self.pop("a function")?;
                let result = self.call(function, arguments)?;
                self.stack.push(result);
            }
            b'b' => {
                let state = self.pop("a state")?;
                let target = self.pop("an object")?;
                self.build(target, state)?;
                self.stack.push(target);
            }
            b'Q' if self.storages => {
                let id = self.pop("the description of a storage")?;
                let storage = self.storage(id)?;
                self.push(storage);
            }
            _ => {
                return Err(ReadError::Opcode {
                    at: self.at,
                    opcode,
                });
            }
        }
        Ok(None)
    }

    fn number(&mut self, opcode: u8) -> Result<Value<'a>, ReadError> {
        let cursor = &mut self.cursor;
        Ok(match opcode {
            b'J' => Value::Int(i32::from_le_bytes(cursor.array()?).into()),
            b'K' => Value::Int(cursor.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(cursor.array()?).into()),
            0x8a => long(cursor.counted::<1>()?),
            0x8b => long(cursor.counted::<4>()?),
            b'G' => {
                cursor.array::<8>()?;
                Value::Float
            }
            b'F' => {
                cursor.line()?;
                Value::Float
            }
            _ => match cursor.line()? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                line => {
                    let digits = std::str::from_utf8(line).ok();
                    let number = digits.and_then(|text| text.trim_end_matches('L').parse().ok());
                    Value::Int(number.ok_or_else(|| self.expected("digits", "other text"))?)
                }
            },
        })
    }

    fn text_or_bytes(&mut self, opcode: u8) -> Result<Value<'a>, ReadError> {
        let cursor = &mut self.cursor;
        let bytes = match opcode {
            b'S' | b'V' => cursor.line()?,
            b'U' | b'C' | 0x8c => cursor.counted::<1>()?,
            b'T' | b'X' | b'B' => cursor.counted::<4>()?,
            _ => cursor.counted::<8>()?,
        };
        match opcode {
            b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => Ok(Value::Bytes(bytes)),
            // Names of tensors need no escapes.
            b'S' | b'V' if bytes.contains(&b'\\') => {
                Err(self.expected("text without escapes", "a backslash"))
            }
            b'S' => match bytes {
                [b'\'', text @ .., b'\''] | [b'"', text @ .., b'"'] => Ok(Value::Bytes(text)),
                _ => Err(self.expected("text in quotes", "other text")),
            },
            _ => std::str::from_utf8(bytes)
                .map(Value::Text)
                .map_err(|_| self.expected("UTF-8", "other bytes")),
        }
    }

    fn container(&mut self, opcode: u8) -> Result<Object<'a>, ReadError> {
        Ok(match opcode {
            b']' => Object::List(Vec::new()),
            b'l' => Object::List(self.pop_mark()?),
            b'}' => Object::Dict(Vec::new()),
            b'd' => {
                let items = self.pop_mark()?;
                Object::Dict(self.pairs(&items)?)
            }
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.pop_mark()?),
            // TUPLE1 to TUPLE3
            _ => {
                let mut parts = Vec::with_capacity(usize::from(opcode - 0x84));
                for _ in 0x85..=opcode {
                    parts.push(self.pop("a value")?);
                }
                parts.reverse();
                Object::Tuple(parts)
            }
        })
    }

    fn remember(&mut self, opcode: u8) -> Result<(), ReadError> {
        let index = match opcode {
            b'g' | b'p' => {
                let line = std::str::from_utf8(self.cursor.line()?).ok();
                let index = line.and_then(|text| text.parse().ok());
                index.ok_or_else(|| self.expected("digits", "other text"))?
            }
            b'h' | b'q' => self.cursor.byte()?.into(),
            b'j' | b'r' => u32::from_le_bytes(self.cursor.array()?),
            // MEMOIZE: there are no more entries than operations.
            _ => self.memo.len() as u32,
        };
        if matches!(opcode, b'g' | b'h' | b'j') {
            let found = self.memo.get(&index).copied();
            let value = found.ok_or_else(|| self.expected("a value stored before", "none"))?;
            self.stack.push(value);
        } else {
            let top = self.pop("a value")?;
            self.memo.insert(index, top);
            self.stack.push(top);
        }
        Ok(())
    }

    fn global(&mut self, module: Value<'a>, name: Value<'a>) -> Result<(), ReadError> {
        let (Some(module), Some(name)) = (module.text(), name.text()) else {
            return Err(self.expected("a module and a name", "other values"));
        };
        let global = Global::of(module, name).ok_or_else(|| ReadError::Global {
            at: self.at,
            name: format!("{}.{}", shown(module, 100), shown(name, 100)),
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// Takes the top value, which must be above the last mark.
    fn pop(&mut self, expected: &'static str) -> Result<Value<'a>, ReadError> {
        if self.stack.len() > self.marks.last().copied().unwrap_or_default()
            && let Some(top) = self.stack.pop()
        {
            return Ok(top);
        }
        Err(self.expected(expected, "nothing"))
    }

    /// Takes the last mark and the values above it.
    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>, ReadError> {
        match self.marks.pop() {
            // Values below a mark stay until it is taken.
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(self.expected("a mark", "none")),
        }
    }

    fn push(&mut self, object: Object<'a>) {
        let value = self.objects.add(object);
        self.stack.push(value);
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, values: impl IntoIterator<Item = Value<'a>>) -> Result<(), ReadError> {
        let target = self.pop("a list")?;
        self.stack.push(target);
        match self.objects.get_mut(target) {
            Some(Object::List(list)) => {
                list.extend(values);
                Ok(())
            }
            _ => Err(self.expected("a list", self.objects.kind(target))),
        }
    }

    /// Sets keys and values, in turn, in the dictionary on top of the stack.
    fn set_items(&mut self, items: &[Value<'a>]) -> Result<(), ReadError> {
        let pairs = self.pairs(items)?;
        let target = self.pop("a dictionary")?;
        self.stack.push(target);
        match self.objects.get_mut(target) {
            Some(Object::Dict(dict)) => {
                dict.extend(pairs);
                Ok(())
            }
            _ => Err(self.expected("a dictionary", self.objects.kind(target))),
        }
    }

    fn pairs(&self, items: &[Value<'a>]) -> Result<Vec<(Value<'a>, Value<'a>)>, ReadError> {
        let (pairs, rest) = items.as_chunks();
        if rest.is_empty() {
            Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
        } else {
            Err(self.expected("a value for every key", "an odd number of values"))
        }
    }

    pub fn expected(&self, expected: &'static str, found: &'static str) -> ReadError {
        ReadError::Operand {
            at: self.at,
            expected,
            found,
        }
    }
}

/// An integer of any length, little-endian in two's complement.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = bytes.last().map_or(0, |last| (last >> 7) * 0xff);
    let mut wide = [sign; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
