//! One MossBlock on a card: norm, [qkv_proj | fc_in], attention, [out_proj | fc_out].

use moss_cuda::{
    Gpu, HeadLayout, HeadTargets, KernelError, KvBlocks, LinearInput, LinearPair, NormWeights,
    Product, RopeOnGpu, Watch,
};

use super::{loader::Loader, workspace::Workspace};
use crate::{CacheShape, LinearKind, ModelError, MossConfig, names};

#[derive(Debug)]
pub(super) struct GpuBlock {
    norm: NormWeights,
    /// qkv_proj and fc_in: from one input.
    pub(super) inputs: LinearPair,
    /// out_proj and fc_out: into one stream.
    pub(super) outputs: LinearPair,
    cache: KvBlocks,
    layout: HeadLayout,
}

impl GpuBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        layer: usize,
        config: &MossConfig,
        cache: CacheShape,
    ) -> Result<Self, ModelError> {
        let spec = config.block();
        let layout = spec.head_layout();
        let cache = KvBlocks::new(loader.gpu, cache.num_blocks, cache.block_size, layout).map_err(
            |source| ModelError::Kernel {
                layer,
                op: "kv cache",
                source,
            },
        )?;
        let norm = loader.norm(layer, &names::block_norm(layer), config)?;
        let mut linear =
            |kind: LinearKind| loader.linear(layer, &kind.name(layer), spec.linear(kind));
        Ok(Self {
            norm,
            inputs: LinearPair {
                first: linear(LinearKind::QkvProj)?,
                second: linear(LinearKind::FcIn)?,
            },
            outputs: LinearPair {
                first: linear(LinearKind::OutProj)?,
                second: linear(LinearKind::FcOut)?,
            },
            cache,
            layout,
        })
    }

    /// Takes memory for the first `blocks` of the cache.
    pub(super) fn hold(&mut self, gpu: &Gpu, blocks: usize) -> Result<(), KernelError> {
        self.cache.hold(gpu, blocks)
    }

    /// Bytes of weights that one row reads.
    pub(super) fn weight_bytes(&self) -> u64 {
        let LinearPair {
            first: qkv,
            second: fc_in,
        } = &self.inputs;
        let LinearPair {
            first: out,
            second: fc_out,
        } = &self.outputs;
        [qkv, fc_in, out, fc_out]
            .map(moss_cuda::GpuLinear::weight_bytes)
            .iter()
            .sum()
    }

    /// Adds the block's output to `n` rows of the residual stream. The few-row path reads every
    /// weight once.
    pub(super) fn forward(
        &self,
        gpu: &Gpu,
        w: &Workspace,
        rope: &RopeOnGpu,
        n: usize,
        few: bool,
        watch: Watch<'_>,
    ) -> Result<(), KernelError> {
        let LinearPair {
            first: qkv,
            second: fc_in,
        } = &self.inputs;
        let LinearPair {
            first: out_proj,
            second: fc_out,
        } = &self.outputs;
        let [attended, inner] = [w.attended(out_proj), w.inner(fc_out)];
        let h = [
            w.normed(0, qkv),
            w.normed(usize::from(!qkv.shares_input(fc_in)), fc_in),
        ];
        for (linear, input) in [
            (qkv, h[0]),
            (fc_in, h[1]),
            (out_proj, attended),
            (fc_out, inner),
        ] {
            if linear.has_fillers() {
                gpu.clear(input.values)?; // another layer may have used these places
            }
        }
        let to = if qkv.shares_input(fc_in) {
            &[(h[0], qkv)][..]
        } else {
            &[(h[0], qkv), (h[1], fc_in)][..]
        };
        gpu.layer_norm(&w.stream, None, n, &self.norm, to)?;

        let heads = HeadTargets {
            q: &w.q,
            cache: &self.cache,
            positions: w.positions(n)?,
            slots: w.slots(n)?,
            rope,
            inner,
            fc_out,
            layout: self.layout,
        };
        if few {
            gpu.linear_heads(&self.inputs, h, n, &heads, watch)?;
        } else {
            let product = |linear, x, inner| {
                let stride = moss_cuda::GpuLinear::out_features(linear).next_multiple_of(8);
                gpu.matmul(
                    linear,
                    x,
                    n,
                    Product::Store(&w.product, stride),
                    &w.products,
                )?;
                gpu.heads_and_inner(&w.product, stride, inner, n, (qkv, fc_in), &heads)
            };
            product(qkv, h[0], false)?;
            product(fc_in, h[1], true)?;
        }
        self.attention(gpu, w, n, attended)?;
        if few {
            return gpu.linear_residual(&self.outputs, [attended, inner], n, &w.stream, watch);
        }
        let stride = out_proj.out_features();
        gpu.matmul(
            out_proj,
            attended,
            n,
            Product::Add(&w.stream, stride),
            &w.products,
        )?;
        gpu.matmul(
            fc_out,
            inner,
            n,
            Product::Add(&w.stream, stride),
            &w.products,
        )?;
        gpu.close_layer(&w.stream, fc_out, n, watch)
    }

    fn attention(
        &self,
        gpu: &Gpu,
        w: &Workspace,
        n: usize,
        out: LinearInput<'_>,
    ) -> Result<(), KernelError> {
        let out = (out, &self.outputs.first);
        match w.is_step(n) {
            true => gpu.attention_decode(
                &w.q,
                &self.cache,
                w.decode_rows(n)?,
                &w.scratch,
                out,
                self.layout,
            ),
            false => {
                gpu.attention_prefill(&w.q, &self.cache, w.prefill_tiles()?, n, out, self.layout)
            }
        }
    }
}
