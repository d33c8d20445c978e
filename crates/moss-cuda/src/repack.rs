//! Weights in the layout of the kernels: packed weights from the published layout, and synthetic
//! weights.

use moss_weights::{GptqBits, GptqWeight, KernelError};

use crate::{
    args::{FillRandomArgs, RepackArgs, RepackTableArgs},
    buffer::Buffer,
    contract::count,
    device::Gpu,
    kernels::Kernel,
    launch::{Call, Geometry},
    layout::{BLOCK, TILE},
    permutation::InputPermutation,
    upload::Uploader,
    weights::{Format, GpuLinear},
};

const THREADS: u32 = 256;

/// Returns the geometry of a kernel with one thread per element.
fn one_thread_each(op: &'static str, elements: usize) -> Result<Geometry, KernelError> {
    let blocks = count(op, "threads", elements.div_ceil(THREADS as usize))?;
    Ok(Geometry {
        grid: (blocks, 1, 1),
        block: THREADS,
    })
}

impl GpuLinear {
    /// Copies `weight` to the GPU in the layout of the kernels.
    pub(crate) fn load_packed(
        gpu: &Gpu,
        weight: &GptqWeight,
        uploader: &mut Uploader<'_>,
        scratch: &mut Option<Buffer<u8>>,
    ) -> Result<Self, KernelError> {
        weight.check("linear")?;
        let format = match weight.bits {
            GptqBits::Four => Format::Int4,
            GptqBits::Eight => Format::Int8,
        };
        let (inputs, outputs) = (weight.in_features, weight.out_features);
        let permutation = InputPermutation::of(weight);
        let mut linear = Self::empty(gpu, format, inputs, outputs, permutation.clone())?;
        linear.bytes = (weight.qweight.len() + weight.qzeros.len() + weight.scales.len()) as u64;
        let table = gpu.repack(weight, &permutation, &linear.weight, uploader, scratch)?;
        linear.table = Some(table);
        Ok(linear)
    }
}

impl Gpu {
    /// Copies `weight` through `scratch` and writes it to `out` in fragment order. Returns the
    /// table of scales and zero points.
    fn repack(
        &self,
        weight: &GptqWeight,
        permutation: &InputPermutation,
        out: &Buffer<u8>,
        uploader: &mut Uploader<'_>,
        scratch: &mut Option<Buffer<u8>>,
    ) -> Result<Buffer<u8>, KernelError> {
        const OP: &str = "repack";
        let (packed, zeros, scales) = (
            weight.qweight.len(),
            weight.qzeros.len(),
            weight.scales.len(),
        );
        // Every part is a whole number of words.
        let zeros_at = packed.next_multiple_of(4);
        let scales_at = zeros_at + zeros.next_multiple_of(4);
        let needed = scales_at + scales;
        let scratch = match scratch.take().filter(|buffer| buffer.len() >= needed) {
            Some(buffer) => scratch.insert(buffer),
            None => scratch.insert(self.zeros(needed)?),
        };
        uploader.copy(&weight.qweight, scratch, 0)?;
        uploader.copy(&weight.qzeros, scratch, zeros_at)?;
        uploader.copy(&weight.scales, scratch, scales_at)?;
        let list = |values: &Option<Vec<u32>>| {
            let values = values.as_ref();
            values.map(|values| self.upload(values)).transpose()
        };
        let (order, group_of) = (list(&permutation.order)?, list(&permutation.group_of)?);
        let call = Call::new(self, OP);
        let words = out.len() / 4;
        let args = RepackArgs {
            qweight: call.input("qweight", &*scratch, packed)?,
            order: call.optional_input("order", order.as_ref(), permutation.blocks * BLOCK)?,
            out: call.output("weight", out, words * 4)?,
            inputs: count(OP, "in_features", weight.in_features)?,
            outputs: count(OP, "out_features", weight.out_features)?,
            blocks: count(OP, "blocks", permutation.blocks)?,
            words: words as u64,
        };
        let kernel = match weight.bits {
            GptqBits::Four => Kernel::<RepackArgs>::INT4,
            GptqBits::Eight => Kernel::<RepackArgs>::INT8,
        };
        call.launch(kernel, one_thread_each(OP, words)?, &args)?;

        let entries = weight.out_features.div_ceil(TILE) * permutation.groups * 8;
        let table: Buffer<u8> = self.zeros(entries * 8)?;
        let args = RepackTableArgs {
            qzeros: call.input("qzeros", scratch.view(zeros_at, zeros)?, zeros)?,
            scales: call.input("scales", scratch.view(scales_at, scales)?, scales)?,
            group_of: call.optional_input("groups", group_of.as_ref(), permutation.groups)?,
            out: call.output("table", &table, entries * 8)?,
            outputs: args.outputs,
            entries_per_tile: count(OP, "groups", permutation.groups)?,
            entries: count(OP, "entries", entries)?,
        };
        let kernel = match weight.bits {
            GptqBits::Four => Kernel::<RepackTableArgs>::INT4,
            GptqBits::Eight => Kernel::<RepackTableArgs>::INT8,
        };
        call.launch(kernel, one_thread_each(OP, entries)?, &args)?;
        if order.is_some() || group_of.is_some() {
            self.synchronize()?; // the lists are freed at the end of this function
        }
        Ok(table)
    }

    /// Fills `out` with random words, `word & keep | set[i % 2]`.
    pub(crate) fn fill_random(
        &self,
        out: &Buffer<u8>,
        seed: u32,
        keep: u32,
        set: [u32; 2],
    ) -> Result<(), KernelError> {
        let call = Call::new(self, "fill random");
        let words = out.len() / 4;
        let [set_even, set_odd] = set;
        let args = FillRandomArgs {
            out: call.output("weight", out, words * 4)?,
            words: words as u64,
            seed,
            keep,
            set_even,
            set_odd,
        };
        let geometry = Geometry {
            grid: (self.info().multiprocessors * 8, 1, 1),
            block: THREADS,
        };
        call.launch(Kernel::FILL_RANDOM, geometry, &args)
    }
}
