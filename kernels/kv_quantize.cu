// kv_quantize: rounds the keys and values of the tokens of a micro-batch to 8-bit integers, and
// writes them to the KV cache of a layer (common/kv_cache.cuh).
//
//   keys, values   f16 [ceil(tokens / 16), heads, 16, stride], as the epilogue of qkv_proj writes
//                  them to slots 0, 1, 2, ...
//   slots          u32 [tokens], block * 16 + offset, or NO_SLOT
//   key_cache, value_cache  8-bit caches
//   stride         a multiple of 8, at most 256
//   What a position stores depends on its own key and value only, and equals what
//   crates/moss-cpu/src/kernels/int8_head.rs computes from the same f16 values, bit for bit.
//   grid (ceil(heads / 4), tokens, 2)   block 128, a warp per key or value of a head   sm_75+
//   cost reads 4 and writes 2 bytes per element: microseconds
//   pair crates/moss-cuda/src/kv_quantize.rs
#include "common/kv_cache.cuh"
#include "common/layouts.cuh"

// Mirrored by `KvQuantizeArgs` in crates/moss-cuda/src/args.
struct KvQuantizeArgs {
    const half* keys;
    const half* values;
    const u32* slots;
    half* key_cache;
    half* value_cache;
    u32 heads, stride;
};
CHECK_LAYOUT_KvQuantizeArgs;

constexpr u32 WARPS = 4;
constexpr float MAX = 127.f;
constexpr float SHIFT = 12582912.f + 128.f;  // the lowest byte of its sum with a number is stored
constexpr u32 ZEROS = 0x80808080;            // four integers 0

// Rounds four elements.
__device__ __forceinline__ u32 quantize(half2 low, half2 high, float unit) {
    const float2 a = __half22float2(low), b = __half22float2(high);
    const float v[4] = {a.x, a.y, b.x, b.y};
    u32 word = 0;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const float number = fminf(fmaxf(__fmul_rn(v[i], unit), -MAX), MAX);
        word |= (__float_as_uint(__fadd_rn(number, SHIFT)) & 0xff) << 8 * i;
    }
    return word;
}

extern "C" __global__ void __launch_bounds__(WARPS* WARP) kv_quantize(
    const __grid_constant__ KvQuantizeArgs a) {
    const u32 head = blockIdx.x * WARPS + threadIdx.x / WARP, token = blockIdx.y;
    const u32 lane = threadIdx.x % WARP, d = lane * 8;
    griddepcontrol_wait();
    griddepcontrol_launch_dependents();
    if (head >= a.heads) return;
    const u32 slot = a.slots[token];
    if (slot == NO_SLOT) return;
    const half* const rows = blockIdx.z ? a.values : a.keys;
    const half* const from = rows + F16Cache::line(token / BLOCK_POSITIONS, a.heads, head,
                                                   token % BLOCK_POSITIONS, a.stride);
    uint4 raw = make_uint4(0, 0, 0, 0);
    if (d < a.stride) raw = *reinterpret_cast<const uint4*>(from + d);
    // As integers, the bits of magnitudes have the order of the magnitudes, and NaN is the largest.
    const half2* const pairs = reinterpret_cast<const half2*>(&raw);
    u32 largest = 0;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) {
        const u32 word = reinterpret_cast<const u32*>(&raw)[i];
        largest = max(largest, max(word & 0x7fff, word >> 16 & 0x7fff));
    }
#pragma unroll
    for (u32 offset = 16; offset > 0; offset /= 2)
        largest = max(largest, __shfl_xor_sync(~0u, largest, offset));
    const half scale = __float2half_ru(
        __fdiv_rn(__half2float(__ushort_as_half(u16(largest))), MAX));
    const float unit = __fdiv_rn(1.f, __half2float(scale));
    uint2 stored = make_uint2(ZEROS, ZEROS);
    if (unit > 0.f && unit < INFINITY)
        stored = make_uint2(quantize(pairs[0], pairs[1], unit), quantize(pairs[2], pairs[3], unit));
    u8* const cache = reinterpret_cast<u8*>(blockIdx.z ? a.value_cache : a.key_cache);
    const u32 block = slot / BLOCK_POSITIONS, offset = slot % BLOCK_POSITIONS;
    u8* const to = cache + Int8Cache::line(block, a.heads, head, offset, a.stride);
    if (d < a.stride) *reinterpret_cast<uint2*>(to + d) = stored;
    if (lane == 0)
        *const_cast<half*>(
            Int8Cache::scales(cache, block, a.heads, head, offset, a.stride)) = scale;
}
