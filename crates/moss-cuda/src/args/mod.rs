//! The parameters of the kernels: structs that are passed by value, as in `kernels/`, and lists of
//! separate parameters.
//!
//! This is the single source of the layouts. The test `write_layouts` generates
//! `kernels/common/layouts.cuh` from it, whose `static_assert`s check size and offset of every
//! field when a kernel is compiled. The tests of `kernels.rs` compare the parameter lists with the
//! PTX in this binary.

mod arguments;
mod parameters;
mod structs;

pub(crate) use arguments::Arguments;
pub(crate) use parameters::{
    AddBiasF32Args, CausalSoftmaxF32Args, EmbeddingArgs, FillRandomArgs, LayerNormArgs,
    LayerNormF32Args, MergeHeadsF32Args, PermuteUpperF32Args, RepackArgs, RepackTableArgs,
    SplitHeadsF32Args,
};
pub(crate) use structs::{
    CopyRun, CopyRunsArgs, DecodeAttentionArgs, DecodeLinearArgs, Epilogue, GemmArgs, Heads,
    KvQuantizeArgs, LinearArgs, LinearSm90Args, NormTarget, PrefillAttentionArgs,
    PrefillAttentionSm90Args, SampleArgs, SampleParams, SampleResult, Segment, TensorMap,
    TransposedGemmArgs,
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fmt::Write as _, fs, path::PathBuf};

    use super::structs::LAYOUTS;

    const INTRODUCTION: &str = "\
// Size of every struct that Rust passes to the kernels, and size and offset of its fields.
// Generated from crates/moss-cuda/src/args by its test `write_layouts`: do not edit.
#pragma once
#include \"types.cuh\"

// clang-format off
#ifdef __CUDACC_RTC__  // NVRTC has no __builtin_offsetof
#define OFFSET_OF(type, field) __INTADDR__(&((type*)0)->field)
#else
#define OFFSET_OF(type, field) __builtin_offsetof(type, field)
#endif
#define CHECK_SIZE(type, size) \\
    static_assert(sizeof(type) == size, #type \" differs from crates/moss-cuda/src/args\")
#define CHECK_FIELD(type, field, offset, size) \\
    static_assert(OFFSET_OF(type, field) == offset && sizeof(type::field) == size, \\
                  #type \"::\" #field \" differs from crates/moss-cuda/src/args\")
";

    fn kernels() -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "..", "..", "kernels"]
            .iter()
            .collect()
    }

    fn header() -> String {
        let mut text = String::from(INTRODUCTION);
        for layout in LAYOUTS {
            let name = layout.name;
            write!(text, "\n#define CHECK_LAYOUT_{name} \\\n").unwrap();
            write!(text, "    CHECK_SIZE({name}, {})", layout.size).unwrap();
            for (field, offset, size) in layout.fields {
                write!(
                    text,
                    "; \\\n    CHECK_FIELD({name}, {field}, {offset}, {size})"
                )
                .unwrap();
            }
            text.push('\n');
        }
        text.push_str("// clang-format on\n");
        text
    }

    #[test]
    #[ignore = "writes kernels/common/layouts.cuh"]
    fn write_layouts() {
        fs::write(kernels().join("common/layouts.cuh"), header()).unwrap();
    }

    #[test]
    fn the_header_has_the_layouts_of_the_rust_structs() {
        let found = fs::read_to_string(kernels().join("common/layouts.cuh")).unwrap();
        assert!(
            found == header(),
            "run `cargo test -p moss-cuda --features cuda -- --ignored write_layouts`"
        );
    }

    #[test]
    fn every_struct_is_checked_where_it_is_defined() {
        let folders = [kernels(), kernels().join("common")];
        let files: Vec<String> = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        for layout in LAYOUTS {
            let name = layout.name;
            let definitions =
                ["struct", "struct alignas(64)"].map(|word| format!("\n{word} {name} {{\n"));
            let check = format!("\n}};\nCHECK_LAYOUT_{name};\n");
            let defining: Vec<_> = files
                .iter()
                .flat_map(|text| definitions.iter().map(move |words| (text, words)))
                .filter_map(|(text, words)| text.split_once(words))
                .collect();
            assert_eq!(defining.len(), 1, "{name}");
            assert!(defining[0].1.contains(&check), "{name} is not checked");
        }
    }
}
