// Consumers of linear_sm90.cu: warpgroups that multiply, add the slices, and store the outputs.
#pragma once
#include "linear_sm90_producers.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The row of a tile that lanes 4 g to 4 g + 3 read of f16 weights: the rows that eight lanes read
// together differ in the bit that moves the swizzle to the other half of a line.
__device__ __forceinline__ u32 swizzle_row(u32 g) { return g / 2 + g % 2 * 4; }

__device__ __forceinline__ uint4 load_shared(u32 at) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(at));
    return v;
}

template <Format F, u32 ROWS, u32 WGS> struct Sm90Consumer {
    using Size = Sm90Size<F, ROWS, WGS>;
    using Cursor = Items<F, Size::TILES>;
    static constexpr u32 VALUES = Size::VALUES, STAGES = Size::STAGES;
    typedef float Sums[VALUES];

    // What a lane has read of a stage: packed weights are read one stage ahead.
    struct Words {
        uint4 w[Size::BLOCKS][PIECES<F>];
        uint2 table;
    };

    const LinearSm90Args& a;
    const Sm90Pipeline<F, ROWS, WGS> pipeline;
    const u32 warpgroup = threadIdx.x / WARPGROUP, warp = threadIdx.x / WARP,
              lane = threadIdx.x % WARP;
    u32 slot = 0, parity = 0;
    bool waited = false;
    Words words;

    // Waits for the threads of this warpgroup.
    __device__ __forceinline__ void sync() const {
        asm volatile("bar.sync %0, 128;" ::"r"(1 + warpgroup) : "memory");
    }
    __device__ __forceinline__ void wait_for_previous_kernel() {
        if (!waited) griddepcontrol_wait(), waited = true;
    }

    // ---- products

    __device__ __forceinline__ void read() {
        mbarrier_wait(pipeline.full(slot), parity);
        const u32 from = pipeline.stage(slot), g = lane / 4, t = lane % 4;
#pragma unroll
        for (u32 b = 0; b < Size::BLOCKS; ++b) {
#pragma unroll
            for (u32 i = 0; i < PIECES<F>; ++i) {
                const u32 row = warp * 16 + i / 2 * 8 + swizzle_row(g);
                const u32 at = F == Format::F16 ? swizzled_offset(row, i % 2 * 4 + t)
                                                : warp * Size::TILE_BYTES +
                                                      (b * PIECES<F> + i) * WARP * 16 + lane * 16;
                words.w[b][i] = load_shared(from + Size::WEIGHT_AT + at);
            }
        }
        if (F != Format::F16)
            asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
                         : "=r"(words.table.x), "=r"(words.table.y)
                         : "r"(from + Size::TABLE_AT + warp * 64 + g * 8));
    }
    static __device__ __forceinline__ void unpack(const uint4 (&w)[PIECES<F>], uint2 table,
                                                  u32 (&f)[4][4]) {
        half2 low = {}, high = {};
        if (F != Format::F16)
            low = __high2half2(as_half2(table.x)), high = __high2half2(as_half2(table.y));
#pragma unroll
        for (u32 s = 0; s < 4; ++s) {
            const Fragment made = fragment<F>(w, s, low, high);
#pragma unroll
            for (u32 e = 0; e < 4; ++e) f[s][e] = made.a[e];
        }
    }
    // Multiplies a block of 64 inputs. If FIRST, the sums of packed weights begin.
    template <bool FIRST>
    static __device__ __forceinline__ void multiply(u64 x, const u32 (&f)[4][4], Sums& to) {
        wgmma_fence();
        wgmma_fragments<!FIRST || F == Format::F16>(to, f[0], x);
#pragma unroll
        for (u32 s = 1; s < 4; ++s) wgmma_fragments<true>(to, f[s], x + 2 * s);
        wgmma_commit();
    }
    // acc += W x for `units` units of U blocks.
    template <u32 U> __device__ __forceinline__ void add_units(u32 units, Sums& acc) {
#pragma unroll 1
        for (; units > 0; --units) {
            if (F == Format::F16) read();
            Sums sum;
            Sums& to = F == Format::F16 ? acc : sum;
            const uint2 table = words.table;
            const u64 x = matrix_descriptor(pipeline.stage(slot));
            const u32 used = slot;
            u32 f[U][4][4];
            unpack(words.w[0], table, f[0]);
            multiply<true>(x, f[0], to);
            if (U == 2) {
                unpack(words.w[Size::BLOCKS - 1], table, f[U - 1]);
                multiply<false>(x + ROWS * SWIZZLED_ROW / 16, f[U - 1], to);
            }
            if (++slot == STAGES) slot = 0, parity ^= 1;
            if (F != Format::F16) read();  // the next stage, while the tensor cores multiply
            wgmma_wait<0>();
            __syncwarp();
            if (lane < CLUSTER) mbarrier_arrive_at(pipeline.empty(used), lane);
            if (F != Format::F16) {
                const float upper = __low2float(as_half2(table.x));
                const float lower = __low2float(as_half2(table.y));
#pragma unroll
                for (u32 i = 0; i < VALUES; i += 4) {
                    acc[i] += upper * sum[i], acc[i + 1] += upper * sum[i + 1];
                    acc[i + 2] += lower * sum[i + 2], acc[i + 3] += lower * sum[i + 3];
                }
            }
        }
    }

    // ---- the tree of slices

    static __device__ __forceinline__ void add(Sums& to, const Sums& left) {
#pragma unroll
        for (u32 i = 0; i < VALUES; ++i) to[i] = left[i] + to[i];
    }
    static __device__ __forceinline__ void copy(Sums& to, const Sums& from) {
#pragma unroll
        for (u32 i = 0; i < VALUES; ++i) to[i] = from[i];
    }
    // A part of this thread, in vectors of four values that are WARPGROUP vectors apart. A group of
    // clusters has parts of at most two blocks of outputs, four each: of those that its range
    // begins in (which = 0) and ends in (1).
    __device__ __forceinline__ float4* part(const Cursor& at, u32 group, u32 which,
                                            u32 ordinal) const {
        const u32 block = (group * at.columns + at.column) * CLUSTER + at.rank;
        const u64 number = u64(block * WGS + warpgroup) * 8 + which * 4 + ordinal;
        return reinterpret_cast<float4*>(a.parts + number * 64 * ROWS) + threadIdx.x % WARPGROUP;
    }
    __device__ __forceinline__ void store_part(const Sums& acc, float4* to) {
        wait_for_previous_kernel();  // it may read its parts
#pragma unroll
        for (u32 v = 0; v < VALUES / 4; ++v)
            __stcg(to + v * WARPGROUP,
                   make_float4(acc[4 * v], acc[4 * v + 1], acc[4 * v + 2], acc[4 * v + 3]));
    }
    // Returns true if this warpgroup is the last one of `count` that have stored their parts.
    __device__ __forceinline__ bool is_last(u32* ticket, u32 count) const {
        const u32 flag = pipeline.shared + Size::FLAGS_AT + 4 * warpgroup;
        sync();
        if (threadIdx.x % WARPGROUP == 0) {
            __threadfence();
            const bool last = atomicAdd(ticket, 1u) == count - 1;
            if (last) *ticket = 0;
            __threadfence();
            asm volatile("st.shared.u32 [%0], %1;" ::"r"(flag), "r"(u32(last)) : "memory");
        }
        sync();
        u32 last;
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(last) : "r"(flag) : "memory");
        return last;
    }
    // Returns true, with the sum of all parts, in the last thread block of these outputs.
    __device__ __forceinline__ bool add_parts(Sums& acc, const Cursor& at) const {
        const u32 first = at.place() * SLICES;
        u32* const ticket = a.tickets +
                            ((at.place() * at.columns + at.column) * CLUSTER + at.rank) * WGS +
                            warpgroup;
        if (!is_last(ticket, at.group_of(first + SLICES - 1) - at.group_of(first) + 1))
            return false;
        // The parts, by their first slice, and their numbers of slices
        u32 size[SLICES], next = 0, group = ~0u, ordinal = 0;
        const float4* from[SLICES];
#pragma unroll
        for (u32 p = 0; p < SLICES; ++p) {
            size[p] = 0, from[p] = nullptr;
            if (p != next) continue;
            const u32 owner = at.group_of(first + p);
            if (owner != group) group = owner, ordinal = 0;
            const u32 end = min(SLICES, at.begin(group + 1) - first);
            size[p] = 1;
#pragma unroll
            for (u32 s = 2; s <= SLICES; s *= 2)
                if (p % s == 0 && p + s <= end) size[p] = s;
            from[p] = part(at, group, at.begin(group) < first, ordinal++);
            next = p + size[p];
        }
#pragma unroll
        for (u32 v = 0; v < VALUES / 4; ++v) {
            float4 parts[SLICES];
            u32 held[SLICES];
#pragma unroll
            for (u32 p = 0; p < SLICES; ++p) {
                held[p] = size[p];
                if (size[p] > 0) parts[p] = __ldcg(from[p] + v * WARPGROUP);
            }
#pragma unroll
            for (u32 step = 1; step < SLICES; step *= 2) {
#pragma unroll
                for (u32 p = 0; p < SLICES; p += 2 * step) {
                    if (held[p] != step) continue;
                    parts[p].x += parts[p + step].x, parts[p].y += parts[p + step].y;
                    parts[p].z += parts[p + step].z, parts[p].w += parts[p + step].w;
                    held[p] = 2 * step;
                }
            }
            acc[4 * v] = parts[0].x, acc[4 * v + 1] = parts[0].y;
            acc[4 * v + 2] = parts[0].z, acc[4 * v + 3] = parts[0].w;
        }
        return true;
    }

    // ---- outputs

    __device__ __forceinline__ void store(const Sums& acc, const Cursor& at, char* memory) const {
        const u32 g = lane / 4, t = lane % 4;
        float* const out = reinterpret_cast<float*>(memory + Size::OUT_AT +
                                                    warpgroup * Size::OUT_BYTES);
        sync();  // the previous outputs are stored
#pragma unroll
        for (u32 j = 0; j < ROWS / 8; ++j) {
            float* const to = out + (8 * j + 2 * t) * Size::OUT_STRIDE + warp % 4 * 16 +
                              (F == Format::F16 ? swizzle_row(g) : g);
            to[0] = acc[4 * j], to[Size::OUT_STRIDE] = acc[4 * j + 1];
            to[8] = acc[4 * j + 2], to[Size::OUT_STRIDE + 8] = acc[4 * j + 3];
        }
        sync();
        // A lane has two outputs, a warp every fourth token.
        constexpr u32 COUNT = 4;
        const u32 tile = warpgroup * 4 + lane / 8;
        if (tile >= at.tiles) return;
        const OutputPair pair(a.linear, at.tile + tile, lane % 8);
        const u32 first = at.column * ROWS, n = min(a.linear.n - first, ROWS);
#pragma unroll 1
        for (u32 token = warp % 4; token < n; token += 4 * COUNT) {
            u32 tokens[COUNT];
            float2 y[COUNT];
#pragma unroll
            for (u32 i = 0; i < COUNT; ++i) {
                const u32 of_block = min(token + 4 * i, n - 1);
                tokens[i] = first + of_block;
                y[i] = *reinterpret_cast<const float2*>(out + of_block * Size::OUT_STRIDE +
                                                        2 * lane);
            }
            pair.store(tokens, (n - token + 3) / 4, y);
        }
    }

    // The sums of a block of outputs for the items of this cluster. The sums of one, two and four
    // slices wait in registers for the other half of their subtree.
    __device__ __forceinline__ void run(char* memory) {
        Cursor at(a, ROWS);
        if (F != Format::F16) read();
        Sums acc, one, two, four;
        for (; !at.is_end(); at.next()) {
            const u32 low = at.slice, high = min(SLICES, low + at.end_item - at.item);
            const u32 which = at.begin(at.group) < at.place() * SLICES;
            u32 ordinal = 0;
            for (;; at.next()) {
#pragma unroll
                for (u32 i = 0; i < VALUES; ++i) acc[i] = 0.f;
                do {
                    const u32 units = at.end - at.unit;
                    if (F == Format::Int4 && at.blocks == 2)
                        add_units<Size::BLOCKS>(units, acc);
                    else
                        add_units<1>(units, acc);
                } while (at.next_segment());
                u32 start = at.slice, size = 1;  // the subtree that this slice completes
                if (start % 2 == 1 && start >= low + 1) {
                    add(acc, one), start -= 1, size = 2;
                    if (start % 4 == 2 && start >= low + 2) {
                        add(acc, two), start -= 2, size = 4;
                        if (start % 8 == 4 && start >= low + 4)
                            add(acc, four), start -= 4, size = 8;
                    }
                }
                if (size == SLICES) break;
                const u32 parent = start & ~(2 * size - 1);
                if (parent < low || parent + 2 * size > high)
                    store_part(acc, part(at, at.group, which, ordinal++));
                else if (size == 1)
                    copy(one, acc);
                else if (size == 2)
                    copy(two, acc);
                else
                    copy(four, acc);
                if (at.slice + 1 == high) break;
            }
            wait_for_previous_kernel();
            const bool is_whole = low == 0 && high == SLICES;
            if (is_whole || add_parts(acc, at)) store(acc, at, memory);
        }
        wait_for_previous_kernel();
    }
};

#endif
