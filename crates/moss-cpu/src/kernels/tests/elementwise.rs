//! Functions of single values.

use proptest::prelude::*;

use crate::kernels::{cpu_features, elementwise};

proptest! {
    #[test]
    fn exp_is_correct_within_two_units_in_the_last_place(x in -100f32..88.0) {
        let (found, exact) = (f64::from(elementwise::exp(x)), f64::from(x).exp());
        prop_assert!((found - exact).abs() <= exact * 2.4e-7 + 1e-44, "exp({x}) = {found} instead of {exact}");
    }

    #[test]
    fn gelu_equals_the_tanh_form(x in -30f32..30.0) {
        let mut found = [x];
        elementwise::gelu(cpu_features(), &mut found);
        let wide = f64::from(x);
        let exact = 0.5 * wide * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3))).tanh());
        prop_assert!((f64::from(found[0]) - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "gelu({x}) = {} instead of {exact}", found[0]);
    }
}

#[test]
fn exp_propagates_nan_and_handles_infinities() {
    assert!(elementwise::exp(f32::NAN).is_nan());
    assert_eq!(
        (elementwise::exp(f32::NEG_INFINITY), elementwise::exp(0.0)),
        (0.0, 1.0)
    );
    assert!(elementwise::exp(f32::INFINITY) > 1e38);
}
