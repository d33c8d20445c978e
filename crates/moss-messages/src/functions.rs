//! Functions of the texts: how numbers are shown.

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};

/// Adds
/// - `FIXED($n, digits: 1)`: the number with so many decimals,
/// - `SIZE($bytes, unit: "GB", digits: 1)`: bytes in `GB`, `GiB` or `MiB`, with the unit,
/// - `HEX($n, digits: 8)`: as `0x0000002a`,
/// - `SIGNED($n)`: as `+1` or `-1`,
/// - `VERSION($n)`: a version of CUDA, `12.2` for 12020.
pub(crate) fn add_to(bundle: &mut FluentBundle<FluentResource>) {
    let added = [
        bundle.add_function("FIXED", |values, named| {
            number(values, |n| format!("{n:.*}", digits(named)))
        }),
        bundle.add_function("SIZE", |values, named| {
            let unit = match named.get("unit") {
                Some(FluentValue::String(unit)) => unit.to_string(),
                _ => String::new(),
            };
            let bytes = match unit.as_str() {
                "GB" => 1e9,
                "GiB" => f64::from(1_u32 << 30),
                "MiB" => f64::from(1_u32 << 20),
                _ => return FluentValue::Error,
            };
            number(values, |n| {
                format!("{:.*} {unit}", digits(named), n / bytes)
            })
        }),
        bundle.add_function("HEX", |values, named| {
            number(values, |n| {
                format!("0x{:0width$x}", n as u64, width = digits(named))
            })
        }),
        bundle.add_function("SIGNED", |values, _| number(values, |n| format!("{n:+}"))),
        bundle.add_function("VERSION", |values, _| {
            number(values, |n| {
                let n = n as u64;
                format!("{}.{}", n / 1000, n % 1000 / 10)
            })
        }),
    ];
    debug_assert!(added.iter().all(Result::is_ok), "{added:?}");
}

fn number<'a>(values: &[FluentValue<'a>], show: impl Fn(f64) -> String) -> FluentValue<'a> {
    match values {
        [FluentValue::Number(number)] => show(number.value).into(),
        _ => FluentValue::Error,
    }
}

fn digits(named: &FluentArgs<'_>) -> usize {
    match named.get("digits") {
        Some(FluentValue::Number(number)) => number.into(),
        _ => 0,
    }
}
