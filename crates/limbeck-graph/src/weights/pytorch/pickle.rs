//! The pickle machine: builds objects from opcodes and calls nothing.
//!
//! Pickle is a small stack language. Its opcodes that make containers are followed; those that name a class
//! or function ([`Value::Global`]) or call one only note what was asked for, with the exceptions of
//! [`rebuild`](super::rebuild). Memory is bounded by the length of the pickle: an opcode adds at most
//! one object, and what is copied is charged against a budget.

use std::borrow::Cow;
use std::collections::HashMap;

use super::globals::is_dangerous;
use super::rebuild;
use super::value::{Heap, Id, Object, Value};

/// The longest name of a module or class.
const LONGEST_GLOBAL: usize = 256;

/// Bytes and a position among them.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let taken = end
            .and_then(|end| self.bytes.get(self.position..end))
            .ok_or_else(|| {
                let left = self.bytes.len() - self.position;
                format!(
                    "the file ends early: expected {count} bytes at byte {}, got {left}",
                    self.position
                )
            })?;
        self.position += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The bytes up to the next line feed, which is skipped.
    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.position..).unwrap_or(&[]);
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| {
            format!(
                "the file ends early: expected the end of a line after byte {}",
                self.position
            )
        })?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    fn text_line(&mut self) -> Result<&'a str, String> {
        let position = self.position;
        std::str::from_utf8(self.line()?)
            .map_err(|_| format!("expected text at byte {position}, got other bytes"))
    }

    /// Bytes after a length of `N` little-endian bytes.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], String> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.array::<N>()?);
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
        self.take(length)
    }
}

/// A pickle that was read: its objects and the outermost one.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub heap: Heap<'a>,
    pub root: Id,
}

/// Reads one pickle from the cursor, which then stands after it.
///
/// # Errors
/// If the pickle is broken, too large, uses an opcode without use in checkpoints, or names a global that is
/// only good for an attack.
pub(super) fn read<'a>(cursor: &mut Cursor<'a>) -> Result<Pickle<'a>, String> {
    let mut machine = Machine {
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget: cursor.bytes.len().saturating_mul(16),
    };
    loop {
        let position = cursor.position;
        let [opcode] = cursor.array()?;
        if opcode == b'.' {
            let root = machine.pop(position)?;
            return Ok(Pickle {
                heap: machine.heap,
                root,
            });
        }
        machine.step(opcode, cursor, position)?;
    }
}

struct Machine<'a> {
    heap: Heap<'a>,
    stack: Vec<Id>,
    /// The heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Objects that may still be copied.
    budget: usize,
}

impl<'a> Machine<'a> {
    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        let id = self.heap.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// The number of values above the innermost mark.
    fn above_mark(&self) -> usize {
        self.stack.len() - self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self, position: usize) -> Result<Id, String> {
        if self.above_mark() == 0 {
            return Err(format!(
                "the pickle is broken: nothing on the stack at byte {position}"
            ));
        }
        self.stack
            .pop()
            .ok_or_else(|| "the stack is empty".to_owned())
    }

    fn top(&self, position: usize) -> Result<Id, String> {
        let top = if self.above_mark() == 0 {
            None
        } else {
            self.stack.last()
        };
        top.copied()
            .ok_or_else(|| format!("the pickle is broken: nothing on the stack at byte {position}"))
    }

    fn pop_to_mark(&mut self, position: usize) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop();
        let mark =
            mark.ok_or_else(|| format!("the pickle is broken: no mark at byte {position}"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_many(&mut self, count: usize, position: usize) -> Result<Vec<Id>, String> {
        if self.above_mark() < count {
            return Err(format!(
                "the pickle is broken: nothing on the stack at byte {position}"
            ));
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn charge(&mut self, objects: usize) -> Result<(), String> {
        self.budget = self
            .budget
            .checked_sub(objects)
            .ok_or("the pickle copies its own objects over and over")?;
        Ok(())
    }

    fn memoize(&mut self, index: u32, position: usize) -> Result<(), String> {
        let top = self.top(position)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32, position: usize) -> Result<(), String> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or_else(|| {
            format!("the pickle is broken: byte {position} recalls object {index}, which was never stored")
        })?;
        self.stack.push(id);
        Ok(())
    }

    fn step(&mut self, opcode: u8, cursor: &mut Cursor<'a>, at: usize) -> Result<(), String> {
        match opcode {
            0x80 => {
                let [protocol] = cursor.array()?;
                if protocol > 5 {
                    return Err(format!(
                        "expected a pickle protocol from 0 to 5, got {protocol}"
                    ));
                }
                Ok(())
            }
            0x95 => cursor.take(8).map(|_| ()),

            b'N' => self.push(Value::Opaque),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let [byte] = cursor.array()?;
                self.push(Value::Integer(byte.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(cursor.array()?);
                self.push(Value::Integer(value.into()))
            }
            b'J' => {
                let value = i32::from_le_bytes(cursor.array()?);
                self.push(Value::Integer(value.into()))
            }
            0x8a => {
                let value = long(cursor.counted::<1>()?);
                self.push(value)
            }
            0x8b => {
                let value = long(cursor.counted::<4>()?);
                self.push(value)
            }
            b'I' | b'L' => {
                let value = integer_text(cursor.text_line()?);
                self.push(value)
            }
            b'F' => {
                cursor.line()?;
                self.push(Value::Opaque)
            }
            b'G' => {
                cursor.take(8)?;
                self.push(Value::Opaque)
            }

            0x8c => self.text(cursor.counted::<1>()?, at),
            b'X' => self.text(cursor.counted::<4>()?, at),
            0x8d => self.text(cursor.counted::<8>()?, at),
            b'V' => {
                let text = unescape(cursor.text_line()?);
                self.push(Value::Text(text))
            }
            b'U' => self.byte_text(cursor.counted::<1>()?),
            b'T' => self.byte_text(cursor.counted::<4>()?),
            b'S' => {
                let line = cursor.line()?.trim_ascii();
                let inner = line.get(1..line.len().saturating_sub(1)).unwrap_or(&[]);
                self.byte_text(inner)
            }
            b'C' => cursor.counted::<1>().and_then(|_| self.push(Value::Opaque)),
            b'B' => cursor.counted::<4>().and_then(|_| self.push(Value::Opaque)),
            0x8e | 0x96 => cursor.counted::<8>().and_then(|_| self.push(Value::Opaque)),

            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.above_mark() == 0 && !self.marks.is_empty() => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop(at).map(|_| ()),
            b'1' => self.pop_to_mark(at).map(|_| ()),
            b'2' => {
                let top = self.top(at)?;
                self.stack.push(top);
                Ok(())
            }

            b')' | b']' | 0x8f => self.push(Value::Sequence(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark(at)?;
                self.push(Value::Sequence(items))
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(opcode - 0x84), at)?;
                self.push(Value::Sequence(items))
            }
            b'a' => {
                let item = self.pop(at)?;
                self.append(&[item], at)
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark(at)?;
                self.append(&items, at)
            }
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark(at)?;
                let pairs = pairs(&items, at)?;
                self.push(Value::Dictionary(pairs))
            }
            b's' => {
                let items = self.pop_many(2, at)?;
                self.set_items(&items, at)
            }
            b'u' => {
                let items = self.pop_to_mark(at)?;
                self.set_items(&items, at)
            }

            b'q' => {
                let [index] = cursor.array()?;
                self.memoize(index.into(), at)
            }
            b'r' => {
                let index = u32::from_le_bytes(cursor.array()?);
                self.memoize(index, at)
            }
            0x94 => {
                let index = u32::try_from(self.memo.len()).map_err(|error| error.to_string())?;
                self.memoize(index, at)
            }
            b'p' => {
                let index = memo_index(cursor.text_line()?, at)?;
                self.memoize(index, at)
            }
            b'h' => {
                let [index] = cursor.array()?;
                self.recall(index.into(), at)
            }
            b'j' => {
                let index = u32::from_le_bytes(cursor.array()?);
                self.recall(index, at)
            }
            b'g' => {
                let index = memo_index(cursor.text_line()?, at)?;
                self.recall(index, at)
            }

            b'c' => {
                let global = global(cursor.text_line()?.into(), cursor.text_line()?.into(), at)?;
                self.push(global)
            }
            0x93 => {
                let names = self.pop_many(2, at)?;
                let (Value::Text(module), Value::Text(name)) =
                    (self.heap.get(names[0]), self.heap.get(names[1]))
                else {
                    return Err(format!(
                        "the pickle is broken: a global without a name at byte {at}"
                    ));
                };
                let global = global(module.clone(), name.clone(), at)?;
                self.push(global)
            }
            b'Q' => {
                let reference = self.pop(at)?;
                let id = rebuild::storage(&mut self.heap, reference, at)?;
                self.stack.push(id);
                Ok(())
            }
            b'R' | 0x81 => {
                let arguments = self.pop(at)?;
                let callable = self.pop(at)?;
                self.call(callable, arguments, at)
            }
            0x92 => {
                let parts = self.pop_many(3, at)?;
                self.call(parts[0], parts[1], at)
            }
            b'i' => {
                let global = global(cursor.text_line()?.into(), cursor.text_line()?.into(), at)?;
                let class = self.heap.add(global)?;
                let items = self.pop_to_mark(at)?;
                let arguments = self.heap.add(Value::Sequence(items))?;
                self.call(class, arguments, at)
            }
            b'o' => {
                let mut items = self.pop_to_mark(at)?;
                if items.is_empty() {
                    return Err(format!(
                        "the pickle is broken: an object without a class at byte {at}"
                    ));
                }
                let class = items.remove(0);
                let arguments = self.heap.add(Value::Sequence(items))?;
                self.call(class, arguments, at)
            }
            b'b' => {
                let state = self.pop(at)?;
                let target = self.top(at)?;
                if let Value::Object(object) = self.heap.get_mut(target) {
                    object.state = Some(state);
                }
                Ok(())
            }
            _ => Err(format!(
                "the pickle has the opcode 0x{opcode:02x} at byte {at}, which no checkpoint needs; the file is \
                 broken or was not written by `torch.save`"
            )),
        }
    }

    fn text(&mut self, bytes: &'a [u8], at: usize) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| {
            format!("the pickle is broken: expected text at byte {at}, got other bytes")
        })?;
        self.push(Value::Text(Cow::Borrowed(text)))
    }

    /// A byte string of Python 2: a text if it can be one.
    fn byte_text(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(Cow::Borrowed(text)),
            Err(_) => Value::Opaque,
        })
    }

    fn append(&mut self, items: &[Id], at: usize) -> Result<(), String> {
        let target = self.top(at)?;
        match self.heap.get_mut(target) {
            Value::Sequence(sequence) => sequence.extend_from_slice(items),
            Value::Object(_) | Value::Opaque => {}
            _ => {
                return Err(format!(
                    "the pickle is broken: an item for no list at byte {at}"
                ));
            }
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id], at: usize) -> Result<(), String> {
        let pairs = pairs(items, at)?;
        let target = self.top(at)?;
        match self.heap.get_mut(target) {
            Value::Dictionary(dictionary) => dictionary.extend(pairs),
            Value::Object(object) => object.items.extend(pairs),
            Value::Opaque => {}
            _ => {
                return Err(format!(
                    "the pickle is broken: an entry for no dictionary at byte {at}"
                ));
            }
        }
        Ok(())
    }

    /// Notes a call, or makes what the few known functions make.
    fn call(&mut self, class: Id, arguments: Id, at: usize) -> Result<(), String> {
        let copied = rebuild::call(&mut self.heap, class, arguments)
            .map_err(|problem| format!("{problem} (byte {at} of the pickle)"))?;
        let Some((id, cost)) = copied else {
            return self.push(Value::Object(Box::new(Object {
                class,
                arguments,
                state: None,
                items: Vec::new(),
            })));
        };
        self.charge(cost)?;
        self.stack.push(id);
        Ok(())
    }
}

fn pairs(items: &[Id], at: usize) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!(
            "the pickle is broken: a key without a value at byte {at}"
        ));
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

fn global<'a>(module: Cow<'a, str>, name: Cow<'a, str>, at: usize) -> Result<Value<'a>, String> {
    if module.len() > LONGEST_GLOBAL || name.len() > LONGEST_GLOBAL {
        return Err(format!(
            "the name of the global at byte {at} is longer than {LONGEST_GLOBAL} bytes"
        ));
    }
    if is_dangerous(&module, &name) {
        return Err(format!(
            "the pickle asks for `{module}.{name}` at byte {at}, which a checkpoint has no use for and an attack \
             has; nothing was executed, do not open the file elsewhere"
        ));
    }
    Ok(Value::Global { module, name })
}

fn memo_index(text: &str, at: usize) -> Result<u32, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("the pickle is broken: `{text:.20}` at byte {at} is no index"))
}

/// A little-endian two's complement integer of any length.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Opaque;
    }
    let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut full = [if negative { 0xff } else { 0 }; 8];
    full[..bytes.len()].copy_from_slice(bytes);
    Value::Integer(i64::from_le_bytes(full))
}

fn integer_text<'a>(text: &str) -> Value<'a> {
    match text {
        "00" => Value::Bool(false),
        "01" => Value::Bool(true),
        _ => text
            .trim_end_matches('L')
            .parse()
            .map_or(Value::Opaque, Value::Integer),
    }
}

/// A text with Python's escapes `\uXXXX` and `\UXXXXXXXX`.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('\\') {
        result.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match rest.as_bytes().get(1) {
            Some(b'u') => 6,
            Some(b'U') => 10,
            _ => 1,
        };
        let escaped = rest
            .get(2..length)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        let taken = if let Some(character) = escaped {
            result.push(character);
            length
        } else {
            result.push('\\');
            1
        };
        rest = &rest[taken..];
    }
    result.push_str(rest);
    Cow::Owned(result)
}
