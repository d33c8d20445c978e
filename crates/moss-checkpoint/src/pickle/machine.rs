//! A stack machine over an arena: values are small indices, so that no nesting, sharing or cycle in
//! a hostile file costs recursion or copies.

use std::collections::{HashMap, HashSet};

use super::{Attachment, PickleError, PickleExpected, PickleLimit, globals::Global, opcodes as op};
use crate::DType;

/// A tensor as the pickle describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PickledTensor<'a> {
    /// Borrowed, as all text is: a hostile file may use one long string a million times.
    pub(crate) name: &'a str,
    /// Name of the zip entry that holds the bytes.
    pub(crate) storage_key: &'a str,
    pub(crate) dtype: DType,
    /// First element within the storage.
    pub(crate) offset: u64,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<u64>,
}

/// Values made in all, popped ones included. Every arena grows by a push, so this bounds them
/// together; the published state dicts make under ten thousand.
const MAX_VALUES: usize = 1 << 20;
const MAX_MEMO: usize = 1 << 20;
const MAX_STRING: usize = 1 << 16;
const MAX_AXES: usize = 16;
/// `_rebuild_tensor_v2` has seven at most.
const MAX_ARGS: usize = 8;

/// Indices point into the machine's arenas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Mark,
    None,
    /// A float, a boolean: things that stand in state dicts and mean nothing here.
    Other,
    Int(i64),
    Text(usize),
    Sequence(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

struct Storage {
    key: usize, // of a text
    dtype: DType,
}

struct Tensor {
    storage: usize,
    offset: u64,
    shape: Vec<usize>,
    strides: Vec<u64>,
    /// Dicts that came with it and must be empty in the end: backward hooks and metadata. Python
    /// keeps the dicts themselves.
    attached: Vec<(usize, Attachment)>,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Values pushed so far.
    pushed: usize,
    memo: HashMap<u32, Value>,
    texts: Vec<&'a str>,
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<Tensor>,
}

/// Returns the tensors of a state dict, in its order. Entries that are not tensors are skipped.
/// A tensor anywhere else (in a nested dict or a list, under a key that is not a string) is an
/// error: nothing would ever read it.
pub(crate) fn read_state_dict(bytes: &[u8]) -> Result<Vec<PickledTensor<'_>>, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: vec![],
        pushed: 0,
        memo: HashMap::new(),
        texts: vec![],
        sequences: vec![],
        dicts: vec![],
        storages: vec![],
        tensors: vec![],
    };
    let root = machine.run()?;
    let Value::Dict(root) = root else {
        return Err(machine.expected(PickleExpected::StateDict));
    };
    let (mut found, mut names) = (Vec::new(), HashSet::new());
    let mut is_reached = vec![false; machine.tensors.len()];
    for (name, value) in &machine.dicts[root] {
        let (Value::Text(name), Value::Tensor(tensor)) = (name, value) else {
            continue;
        };
        let name = machine.texts[*name];
        if !names.insert(name) {
            return Err(machine.expected(PickleExpected::DistinctNames));
        }
        is_reached[*tensor] = true;
        let tensor = &machine.tensors[*tensor];
        if let Some((_, what)) = tensor
            .attached
            .iter()
            .find(|(dict, _)| !machine.dicts[*dict].is_empty())
        {
            return Err(PickleError::Attached {
                name: name.to_owned(),
                what: *what,
            });
        }
        let storage = &machine.storages[tensor.storage];
        found.push(PickledTensor {
            name,
            storage_key: machine.texts[storage.key],
            dtype: storage.dtype,
            offset: tensor.offset,
            shape: tensor.shape.clone(),
            strides: tensor.strides.clone(),
        });
    }
    if let Some(first) = is_reached.iter().position(|is_reached| !is_reached) {
        let storage = &machine.storages[machine.tensors[first].storage];
        return Err(PickleError::Unreached {
            count: is_reached.iter().filter(|is_reached| !**is_reached).count(),
            record: format!("data/{}", machine.texts[storage.key]),
        });
    }
    Ok(found)
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, PickleError> {
        loop {
            let at = self.at;
            match self.byte()? {
                op::PROTO => drop(self.byte()?),
                op::FRAME => drop(self.take(8)?),
                op::STOP => return self.pop(),
                op::MARK => self.push(Value::Mark)?,
                op::NONE => self.push(Value::None)?,
                op::NEWTRUE | op::NEWFALSE => self.push(Value::Other)?,
                op::BINFLOAT => {
                    self.take(8)?;
                    self.push(Value::Other)?;
                }
                op::BININT => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                op::BININT1 => {
                    let value = self.byte()?;
                    self.push(Value::Int(value.into()))?;
                }
                op::BININT2 => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(value.into()))?;
                }
                op::LONG1 => self.long()?,
                op::BINUNICODE => {
                    let len = u32::from_le_bytes(self.array()?) as usize;
                    self.text(len)?;
                }
                op::SHORT_BINUNICODE => {
                    let len = self.byte()?.into();
                    self.text(len)?;
                }
                op::EMPTY_TUPLE | op::EMPTY_LIST => self.sequence(vec![])?,
                op::TUPLE => {
                    let items = self.pop_to_mark()?;
                    self.sequence(items)?;
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
                op::EMPTY_DICT => self.dict()?,
                op::SETITEM => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value])?;
                }
                op::SETITEMS => {
                    let items = self.pop_to_mark()?;
                    self.set_items(items)?;
                }
                op::GLOBAL => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name, at)?;
                }
                op::STACK_GLOBAL => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.global(self.texts[module], self.texts[name], at)?;
                }
                op::REDUCE => self.reduce()?,
                op::BUILD => self.build()?,
                op::BINPERSID => self.persistent_id()?,
                op::BINPUT => {
                    let key = self.byte()?.into();
                    self.put(key)?;
                }
                op::LONG_BINPUT => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.put(key)?;
                }
                op::MEMOIZE => self.put(self.memo.len() as u32)?,
                op::BINGET => {
                    let key = self.byte()?.into();
                    self.get(key)?;
                }
                op::LONG_BINGET => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.get(key)?;
                }
                op::POP => drop(self.pop()?),
                opcode => return Err(PickleError::Opcode { opcode, at }),
            }
        }
    }

    fn expected(&self, expected: PickleExpected) -> PickleError {
        PickleError::Value {
            expected,
            at: self.at,
        }
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| PickleError::Truncated { at })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(PickleError::Truncated {
            at: self.bytes.len(),
        })?;
        self.at += len;
        Ok(taken)
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, PickleError> {
        std::str::from_utf8(bytes).map_err(|_| self.expected(PickleExpected::Utf8))
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let window = &rest[..rest.len().min(MAX_STRING)];
        let end = window.iter().position(|byte| *byte == b'\n');
        let line = self.take(
            end.ok_or(PickleError::Truncated {
                at: self.bytes.len(),
            })? + 1,
        )?;
        self.utf8(&line[..line.len() - 1])
    }

    fn text(&mut self, len: usize) -> Result<(), PickleError> {
        if len > MAX_STRING {
            return Err(PickleError::Limit {
                what: PickleLimit::StringLength,
                at: self.at,
            });
        }
        let bytes = self.take(len)?;
        self.texts.push(self.utf8(bytes)?);
        self.push(Value::Text(self.texts.len() - 1))
    }

    fn long(&mut self) -> Result<(), PickleError> {
        let len = self.byte()?.into();
        let bytes = self.take(len)?;
        if len > 8 {
            return Err(PickleError::Limit {
                what: PickleLimit::Digits,
                at: self.at,
            });
        }
        // Two's complement of any length up to eight bytes, little-endian.
        let fill = if bytes.last().is_some_and(|top| top & 0x80 != 0) {
            0xFF
        } else {
            0
        };
        let mut wide = [fill; 8];
        wide[..len].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.pushed >= MAX_VALUES {
            return Err(PickleError::Limit {
                what: PickleLimit::Values,
                at: self.at,
            });
        }
        self.pushed += 1;
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        self.stack
            .pop()
            .ok_or_else(|| self.expected(PickleExpected::StackValue))
    }

    fn pop_text(&mut self) -> Result<usize, PickleError> {
        match self.pop()? {
            Value::Text(text) => Ok(text),
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

    fn sequence(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        self.sequences.push(items);
        self.push(Value::Sequence(self.sequences.len() - 1))
    }

    fn tuple(&mut self, len: usize) -> Result<(), PickleError> {
        let start = self
            .stack
            .len()
            .checked_sub(len)
            .ok_or_else(|| self.expected(PickleExpected::StackValue))?;
        let items = self.stack.split_off(start);
        self.sequence(items)
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let Some(Value::Sequence(list)) = self.stack.last() else {
            return Err(self.expected(PickleExpected::List));
        };
        self.sequences[*list].extend(items);
        Ok(())
    }

    fn dict(&mut self) -> Result<(), PickleError> {
        self.dicts.push(vec![]);
        self.push(Value::Dict(self.dicts.len() - 1))
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), PickleError> {
        let Some(Value::Dict(dict)) = self.stack.last() else {
            return Err(self.expected(PickleExpected::Dict));
        };
        if !items.len().is_multiple_of(2) {
            return Err(self.expected(PickleExpected::KeyValuePairs));
        }
        self.dicts[*dict].extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
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

    /// Describes what a call to one of the listed names would give.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (args, function) = (self.pop()?, self.pop()?);
        let Value::Sequence(args) = args else {
            return Err(self.expected(PickleExpected::Arguments));
        };
        // Copies are cut short: a hostile file may pass one long tuple to a million calls.
        let args: Vec<_> = self.sequences[args]
            .iter()
            .copied()
            .take(MAX_ARGS)
            .collect();
        match (function, args.as_slice()) {
            (Value::Global(Global::OrderedDict), []) => self.dict(),
            (
                Value::Global(Global::RebuildTensor),
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Sequence(shape),
                    Value::Sequence(strides),
                    _requires_grad,
                    ref rest @ ..,
                ],
            ) => {
                // Metadata marks a tensor whose elements are to be negated or conjugated.
                let attached = match *rest {
                    [hooks] => self.attached([
                        (hooks, Attachment::BackwardHooks),
                        (Value::None, Attachment::Metadata),
                    ]),
                    [hooks, metadata] => self.attached([
                        (hooks, Attachment::BackwardHooks),
                        (metadata, Attachment::Metadata),
                    ]),
                    _ => Err(self.expected(PickleExpected::TensorArguments)),
                }?;
                let offset =
                    u64::try_from(offset).map_err(|_| self.expected(PickleExpected::Offset))?;
                let (shape, strides) = (self.extents(shape)?, self.extents(strides)?);
                if shape.len() != strides.len() {
                    return Err(self.expected(PickleExpected::Strides));
                }
                let shape = shape
                    .iter()
                    .map(|n| usize::try_from(*n))
                    .collect::<Result<_, _>>();
                let shape = shape.map_err(|_| self.expected(PickleExpected::Extents))?;
                self.tensors.push(Tensor {
                    storage,
                    offset,
                    shape,
                    strides,
                    attached,
                });
                self.push(Value::Tensor(self.tensors.len() - 1))
            }
            (
                Value::Global(Global::RebuildParameter),
                &[Value::Tensor(tensor), _requires_grad, hooks],
            ) => {
                let attached = self.attached([(hooks, Attachment::BackwardHooks)])?;
                self.tensors[tensor].attached.extend(attached);
                self.push(Value::Tensor(tensor))
            }
            _ => Err(self.expected(PickleExpected::Constructor)),
        }
    }

    /// The dicts among what comes with a tensor; None stands for an empty one.
    fn attached<const N: usize>(
        &self,
        values: [(Value, Attachment); N],
    ) -> Result<Vec<(usize, Attachment)>, PickleError> {
        let dict = |(value, what)| match value {
            Value::None => Ok(None),
            Value::Dict(dict) => Ok(Some((dict, what))),
            _ => Err(self.expected(PickleExpected::Attachment)),
        };
        values
            .into_iter()
            .filter_map(|value| dict(value).transpose())
            .collect()
    }

    /// Attributes of a dict (`_metadata`, the versions of modules) say nothing about tensors. On a
    /// tensor they would be a state that replaces it.
    fn build(&mut self) -> Result<(), PickleError> {
        match (self.pop()?, self.stack.last()) {
            (Value::Dict(_) | Value::None, Some(Value::Dict(_))) => Ok(()),
            _ => Err(self.expected(PickleExpected::Attributes)),
        }
    }

    fn extents(&self, sequence: usize) -> Result<Vec<u64>, PickleError> {
        let extent = |value: &Value| match value {
            Value::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        let sequence = &self.sequences[sequence];
        if sequence.len() > MAX_AXES {
            return Err(PickleError::Limit {
                what: PickleLimit::Axes,
                at: self.at,
            });
        }
        let extents = sequence.iter().map(extent).collect::<Option<_>>();
        extents.ok_or_else(|| self.expected(PickleExpected::Extents))
    }

    /// `('storage', type, key, location, elements)`: the only kind of outside reference that
    /// `torch.save` writes.
    fn persistent_id(&mut self) -> Result<(), PickleError> {
        let Value::Sequence(id) = self.pop()? else {
            return Err(self.expected(PickleExpected::Storage));
        };
        match self.sequences[id].as_slice() {
            [
                Value::Text(kind),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                Value::Text(_location),
                Value::Int(_elements),
            ] if self.texts[*kind] == "storage" => {
                let storage = Storage {
                    key: *key,
                    dtype: *dtype,
                };
                self.storages.push(storage);
                self.push(Value::Storage(self.storages.len() - 1))
            }
            _ => Err(self.expected(PickleExpected::Storage)),
        }
    }

    fn put(&mut self, key: u32) -> Result<(), PickleError> {
        let value = *self
            .stack
            .last()
            .ok_or_else(|| self.expected(PickleExpected::StackValue))?;
        if self.memo.len() >= MAX_MEMO {
            return Err(PickleError::Limit {
                what: PickleLimit::Memo,
                at: self.at,
            });
        }
        self.memo.insert(key, value);
        Ok(())
    }

    fn get(&mut self, key: u32) -> Result<(), PickleError> {
        let value = self.memo.get(&key).copied();
        self.push(value.ok_or_else(|| self.expected(PickleExpected::Memo))?)
    }
}
