//! The stack machine of pickle. It returns the value that a pickle describes.

use std::collections::HashMap;

use super::{
    PickleError, PickleExpected, PickleLimit,
    construct::{Constructor, MAX_ARGS},
    globals::Global,
    opcodes as op,
    reader::{MAX_STRING, Reader},
    values::{Value, Values},
};

/// Limit on the values that are pushed, popped ones included. Every arena grows with a push, so
/// this bounds their sizes. The published state dicts push fewer than ten thousand.
const MAX_VALUES: usize = 1 << 20;
const MAX_MEMO: usize = 1 << 20;

pub(super) struct Machine<'a> {
    reader: Reader<'a>,
    pub(super) values: Values<'a>,
    stack: Vec<Value>,
    /// Number of values pushed so far.
    pushed: usize,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            values: Values::default(),
            stack: vec![],
            pushed: 0,
            memo: HashMap::new(),
        }
    }

    /// Runs all instructions and returns the result.
    pub(super) fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            let at = self.reader.at;
            match self.reader.byte()? {
                op::PROTO => drop(self.reader.byte()?),
                op::FRAME => drop(self.reader.take(8)?),
                op::STOP => return self.pop(),
                op::MARK => self.push(Value::Mark)?,
                op::NONE => self.push(Value::None)?,
                op::NEWTRUE | op::NEWFALSE => self.push(Value::Other)?,
                op::BINFLOAT => {
                    self.reader.take(8)?;
                    self.push(Value::Other)?;
                }
                op::BININT => {
                    let value = i32::from_le_bytes(self.reader.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                op::BININT1 => {
                    let value = self.reader.byte()?;
                    self.push(Value::Int(value.into()))?;
                }
                op::BININT2 => {
                    let value = u16::from_le_bytes(self.reader.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                op::LONG1 => self.long()?,
                op::BINUNICODE => {
                    let len = u32::from_le_bytes(self.reader.array()?) as usize;
                    self.text(len)?;
                }
                op::SHORT_BINUNICODE => {
                    let len = self.reader.byte()?.into();
                    self.text(len)?;
                }
                op::EMPTY_TUPLE | op::EMPTY_LIST => self.push_sequence(vec![])?,
                op::TUPLE => {
                    let items = self.pop_to_mark()?;
                    self.push_sequence(items)?;
                }
                op::TUPLE1 => self.tuple(1)?,
                op::TUPLE2 => self.tuple(2)?,
                op::TUPLE3 => self.tuple(3)?,
                op::APPEND => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                op::APPENDS => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                op::EMPTY_DICT => {
                    let dict = self.values.dict();
                    self.push(dict)?;
                }
                op::SETITEM => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value])?;
                }
                op::SETITEMS => {
                    let items = self.pop_to_mark()?;
                    self.set_items(items)?;
                }
                op::GLOBAL => {
                    let (module, name) = (self.reader.line()?, self.reader.line()?);
                    self.global(module, name, at)?;
                }
                op::STACK_GLOBAL => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.global(module, name, at)?;
                }
                op::REDUCE => self.reduce()?,
                op::BUILD => self.build()?,
                op::BINPERSID => {
                    let id = self.pop()?;
                    let storage = self.constructor().storage(id)?;
                    self.push(storage)?;
                }
                op::BINPUT => {
                    let key = self.reader.byte()?.into();
                    self.put(key)?;
                }
                op::LONG_BINPUT => {
                    let key = u32::from_le_bytes(self.reader.array()?);
                    self.put(key)?;
                }
                op::MEMOIZE => self.put(self.memo.len() as u32)?,
                op::BINGET => {
                    let key = self.reader.byte()?.into();
                    self.get(key)?;
                }
                op::LONG_BINGET => {
                    let key = u32::from_le_bytes(self.reader.array()?);
                    self.get(key)?;
                }
                op::POP => drop(self.pop()?),
                opcode => return Err(PickleError::Opcode { opcode, at }),
            }
        }
    }

    pub(super) fn expected(&self, expected: PickleExpected) -> PickleError {
        PickleError::Value {
            expected,
            at: self.reader.at,
        }
    }

    fn limit(&self, what: PickleLimit) -> PickleError {
        PickleError::Limit {
            what,
            at: self.reader.at,
        }
    }

    fn constructor(&mut self) -> Constructor<'_, 'a> {
        Constructor {
            values: &mut self.values,
            at: self.reader.at,
        }
    }

    fn text(&mut self, len: usize) -> Result<(), PickleError> {
        if len > MAX_STRING {
            return Err(self.limit(PickleLimit::StringLength));
        }
        let text = self.reader.text(len)?;
        let text = self.values.text(text);
        self.push(text)
    }

    fn long(&mut self) -> Result<(), PickleError> {
        let len = self.reader.byte()?.into();
        let bytes = self.reader.take(len)?;
        if len > 8 {
            return Err(self.limit(PickleLimit::Digits));
        }
        // Two's complement of any length up to eight bytes, little-endian.
        let is_negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
        let mut wide = [if is_negative { 0xFF } else { 0 }; 8];
        wide[..len].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.pushed >= MAX_VALUES {
            return Err(self.limit(PickleLimit::Values));
        }
        self.pushed += 1;
        self.stack.push(value);
        Ok(())
    }

    fn push_sequence(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let sequence = self.values.sequence(items);
        self.push(sequence)
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        self.stack
            .pop()
            .ok_or_else(|| self.expected(PickleExpected::StackValue))
    }

    fn pop_text(&mut self) -> Result<&'a str, PickleError> {
        match self.pop()? {
            Value::Text(text) => Ok(self.values.texts[text]),
            _ => Err(self.expected(PickleExpected::Text)),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, PickleError> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        let mark = mark.ok_or_else(|| self.expected(PickleExpected::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, len: usize) -> Result<(), PickleError> {
        let start = self
            .stack
            .len()
            .checked_sub(len)
            .ok_or_else(|| self.expected(PickleExpected::StackValue))?;
        let items = self.stack.split_off(start);
        self.push_sequence(items)
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let Some(Value::Sequence(list)) = self.stack.last() else {
            return Err(self.expected(PickleExpected::List));
        };
        self.values.sequences[*list].extend(items);
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let Some(Value::Dict(dict)) = self.stack.last() else {
            return Err(self.expected(PickleExpected::Dict));
        };
        if !items.len().is_multiple_of(2) {
            return Err(self.expected(PickleExpected::KeyValuePairs));
        }
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        self.values.dicts[*dict].extend(pairs);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str, at: usize) -> Result<(), PickleError> {
        match Global::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(PickleError::Global {
                name: format!("{module}.{name}"),
                at,
            }),
        }
    }

    fn reduce(&mut self) -> Result<(), PickleError> {
        let (args, function) = (self.pop()?, self.pop()?);
        let Value::Sequence(args) = args else {
            return Err(self.expected(PickleExpected::Arguments));
        };
        // The copy is truncated: a hostile file may pass one long tuple to a million calls.
        let args = self.values.sequences[args].iter().copied().take(MAX_ARGS);
        let args: Vec<_> = args.collect();
        let result = self.constructor().call(function, &args)?;
        self.push(result)
    }

    /// Ignores the attributes of a dict: `_metadata`, the versions of modules. The attributes of a
    /// tensor would be a state that replaces it, and are an error.
    fn build(&mut self) -> Result<(), PickleError> {
        match (self.pop()?, self.stack.last()) {
            (Value::Dict(_) | Value::None, Some(Value::Dict(_))) => Ok(()),
            _ => Err(self.expected(PickleExpected::Attributes)),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), PickleError> {
        let value = *self
            .stack
            .last()
            .ok_or_else(|| self.expected(PickleExpected::StackValue))?;
        if self.memo.len() >= MAX_MEMO {
            return Err(self.limit(PickleLimit::Memo));
        }
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), PickleError> {
        let value = self.memo.get(&key).copied();
        self.push(value.ok_or_else(|| self.expected(PickleExpected::Memo))?)
    }
}
