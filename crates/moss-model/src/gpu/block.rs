//! One MossBlock on a GPU: norm, [qkv_proj | fc_in], attention, [out_proj | fc_out].

use moss_cuda::{
    AttentionLaunch, Gpu, GpuLinear, HeadLayout, KernelError, KvBlocks, LinearInput, LinearPair,
    NonFiniteCheck, NormWeights, QkvRopeGelu, RopeOnGpu,
};

use super::{
    loader::Loader,
    workspace::{LayerLinears, Workspace},
};
use crate::{CacheShape, KvCacheType, LinearKind, ModelError, MossConfig, TokenKind, names};

#[derive(Debug)]
pub(super) struct GpuBlock {
    norm: NormWeights,
    /// qkv_proj and fc_in, which share their input.
    inputs: LinearPair,
    /// out_proj and fc_out, which are added to the residual stream.
    outputs: LinearPair,
    cache: KvBlocks,
    layout: HeadLayout,
}

impl GpuBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        layer: usize,
        config: &MossConfig,
        (cache, kv_cache): (CacheShape, KvCacheType),
    ) -> Result<Self, ModelError> {
        let spec = config.block();
        let layout = spec.head_layout();
        let (blocks, block_size) = (cache.num_blocks, cache.block_size);
        let cache = KvBlocks::new(loader.gpu, blocks, block_size, layout, kv_cache.on_gpu())
            .map_err(|source| ModelError::Kernel {
                layer,
                op: "kv cache",
                source,
            })?;
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

    /// Returns the linear layers.
    pub(super) fn linears(&self) -> LayerLinears<'_> {
        LayerLinears {
            inputs: &self.inputs,
            outputs: &self.outputs,
        }
    }

    /// Maps the first `blocks` of the cache to memory.
    pub(super) fn ensure_mapped(&mut self, gpu: &Gpu, blocks: usize) -> Result<(), KernelError> {
        self.cache.ensure_mapped(gpu, blocks)
    }

    /// Returns the KV cache of the layer.
    pub(super) fn cache(&self) -> &KvBlocks {
        &self.cache
    }

    /// Returns the bytes of weights that one token reads.
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
            .map(GpuLinear::weight_bytes)
            .iter()
            .sum()
    }

    /// Adds the block's output to `n` tokens of the residual stream: generated ones by the decode
    /// (GEMV) kernels, prompt tokens by the matrix products of prefill (GEMM).
    pub(super) fn forward(
        &self,
        gpu: &Gpu,
        w: &Workspace,
        rope: &RopeOnGpu,
        n: usize,
        kind: TokenKind,
        check: NonFiniteCheck<'_>,
    ) -> Result<(), KernelError> {
        let LinearPair {
            first: qkv,
            second: fc_in,
        } = &self.inputs;
        let LinearPair {
            first: out_proj,
            second: fc_out,
        } = &self.outputs;
        let order = |linear| w.order(linear, n, kind);
        let [attended, inner] = [
            w.attended(out_proj, order(out_proj)),
            w.inner(fc_out, order(fc_out)),
        ];
        let h = [
            w.normed(0, qkv, order(qkv)),
            w.normed(usize::from(!qkv.shares_input(fc_in)), fc_in, order(fc_in)),
        ];
        for (linear, input) in [
            (qkv, h[0]),
            (fc_in, h[1]),
            (out_proj, attended),
            (fc_out, inner),
        ] {
            if linear.has_padding() {
                gpu.clear(input.values)?; // another layer may have written to these columns
            }
        }
        let to = if qkv.shares_input(fc_in) {
            &[(h[0], qkv)][..]
        } else {
            &[(h[0], qkv), (h[1], fc_in)][..]
        };
        gpu.layer_norm(&w.stream, None, n, &self.norm, to)?;

        // The scale of a head needs all of its values, which several thread blocks compute.
        let (cache, slots) = match &w.unrounded {
            Some(unrounded) => (unrounded, w.row_numbers(n)?),
            None => (&self.cache, w.slots(n)?),
        };
        let epilogue = QkvRopeGelu {
            q: &w.q,
            cache,
            positions: w.positions(n)?,
            slots,
            rope,
            inner,
            fc_out,
            layout: self.layout,
        };
        if kind == TokenKind::Generated {
            let inner = gpu.qkv_fc_in(&self.inputs, h, n, &epilogue, check)?;
            let inner = inner.then_attention(|| self.attention(gpu, w, n, kind, attended))?;
            return gpu.out_fc_out(&self.outputs, attended, &inner, n, &w.stream, check);
        }
        gpu.prefill_qkv_fc_in(&self.inputs, h, n, &epilogue, check)?;
        self.attention(gpu, w, n, kind, attended)?;
        let (stream, scratch) = (&w.stream, &w.gemm);
        gpu.prefill_out_fc_out(&self.outputs, attended, inner, n, stream, check, scratch)
    }

    /// Enqueues attention, and before it the rounding of keys and values for an 8-bit cache.
    fn attention(
        &self,
        gpu: &Gpu,
        w: &Workspace,
        n: usize,
        kind: TokenKind,
        out: LinearInput<'_>,
    ) -> Result<AttentionLaunch, KernelError> {
        let (cache, out) = (&self.cache, (out, &self.outputs.first));
        if let Some(unrounded) = &w.unrounded {
            gpu.kv_quantize(unrounded, cache, w.slots(n)?, n)?;
        }
        match kind {
            TokenKind::Generated => {
                let rows = w.decode_rows(n)?;
                gpu.attention_decode(&w.q, cache, rows, &w.scratch, out, self.layout)
            }
            TokenKind::Prompt => {
                gpu.attention_prefill(&w.q, cache, w.prefill_tiles()?, n, out, self.layout)
            }
        }
    }
}
