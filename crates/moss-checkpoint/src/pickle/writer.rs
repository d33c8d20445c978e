//! Writing the pickle of a state dict, in protocol 2 and for PyTorch's `weights_only` reader.

use super::{globals::storage_name, opcodes::*};
use crate::Outline;

/// Returns an `OrderedDict` of `torch._utils._rebuild_tensor_v2((storage, 0, shape, strides, False,
/// OrderedDict()))`; tensor `i` is the whole storage `i`.
pub(crate) fn write_state_dict(tensors: &[Outline]) -> Vec<u8> {
    let mut out = Writer(vec![PROTO, 2]);
    out.ordered_dict();
    out.0.push(MARK);
    for (key, tensor) in tensors.iter().enumerate() {
        out.text(&tensor.name);
        out.global("torch._utils", "_rebuild_tensor_v2");
        out.0.extend([MARK, MARK]);
        out.text("storage");
        out.global("torch", &storage_name(tensor.dtype));
        out.text(&key.to_string());
        out.text("cpu");
        out.int(tensor.shape.iter().product::<usize>() as u64);
        out.0.extend([TUPLE, BINPERSID]);
        out.int(0); // offset
        out.ints(&tensor.shape);
        out.ints(&strides(&tensor.shape));
        out.0.push(NEWFALSE); // requires_grad
        out.ordered_dict(); // hooks
        out.0.extend([TUPLE, REDUCE]);
    }
    out.0.extend([SETITEMS, STOP]);
    out.0
}

/// Returns the row-major strides, in elements.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) {
        self.0.push(BINUNICODE);
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").as_bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([EMPTY_TUPLE, REDUCE]);
    }

    fn int(&mut self, value: u64) {
        match i32::try_from(value) {
            Ok(value) => {
                self.0.push(BININT);
                self.0.extend(value.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([LONG1, 8]); // the sign bit is 0: lengths are below 2^63
                self.0.extend(value.to_le_bytes());
            }
        }
    }

    fn ints(&mut self, values: &[usize]) {
        self.0.push(MARK);
        values.iter().for_each(|value| self.int(*value as u64));
        self.0.push(TUPLE);
    }
}
