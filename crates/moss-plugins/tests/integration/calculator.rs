//! Python's rules for numbers. The expected values are what Python 3.12 prints.

use moss_plugins::{Calculate, ExpressionError};
use proptest::prelude::*;

fn value(expression: &str) -> String {
    Calculate::evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
}

#[test]
fn numbers_follow_the_rules_of_python() {
    let cases = [
        ("7//2", "3"),
        ("-7//2", "-4"),
        ("7%-3", "-2"),
        ("-7.5//2", "-4.0"),
        ("-7.5%2", "0.5"),
        ("7.5%-2", "-0.5"),
        ("-2^2", "-4"),
        ("2^-1", "0.5"),
        ("2^3^2", "512"),
        ("(-8)^3", "-512"),
        ("(-1)**1001", "-1"),
        ("2*-3", "-6"),
        ("1e3", "1000.0"),
        ("1e16", "1e+16"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("1e22+1", "1e+22"),
        ("2018446050881065.2", "2018446050881065.2"),
        ("0.5+25821699089880.8125", "25821699089881.312"),
        ("1234567890123456.0", "1234567890123456.0"),
        ("10**20", "100000000000000000000"),
        ("10**20/3", "3.333333333333333e+19"),
        ("3**50/7**20", "8997087.324405745"),
        ("10**300*10**100/10**390", "10000000000.0"),
        ("1_000+.5", "1000.5"),
        ("5.", "5.0"),
        ("-0.0", "-0.0"),
        ("1e308*10", "inf"),
        ("round(2.5)", "2"),
        ("round(2.675,2)", "2.67"),
        ("round(3.14159,3)", "3.142"),
        ("ceil(2.1)+floor(-2.1)", "0"),
        ("max(3,2.5,7)", "7"),
        ("min(3,2.5,7)", "2.5"),
        ("abs(-3)", "3"),
        ("pow(2,10)", "1024"),
        ("CubeRoot(64)", "4.0"),
        ("acos(1)", "0.0"),
        ("log(100,10)", "2.0"),
        ("log(2)", "0.6931471805599453"),
        ("atan2(1,1)*4", "3.141592653589793"),
        ("gcd(84,36)", "12"),
        ("math.sqrt(2)", "1.4142135623730951"),
        ("a=3\nb=4\nhypot(a,b)", "5.0"),
        ("3×4÷2−1", "5.0"),
    ];
    for (expression, expected) in cases {
        assert_eq!(value(expression), expected, "{expression}");
    }
}

#[test]
fn errors_name_the_fault() {
    let error = |expression: &str| Calculate::evaluate(expression).unwrap_err();
    let unknown = |name: &str| ExpressionError::UnknownName { name: name.into() };
    assert_eq!(error("1+"), ExpressionError::Syntax { position: 3 });
    assert_eq!(error("2 3"), ExpressionError::Syntax { position: 3 });
    assert_eq!(error("007"), ExpressionError::Syntax { position: 1 });
    assert_eq!(error("2x"), ExpressionError::Syntax { position: 1 });
    assert_eq!(error("a+1"), unknown("a"));
    assert_eq!(error("factorial(3)"), unknown("factorial"));
    assert_eq!(
        error("sqrt()"),
        ExpressionError::Arguments {
            name: "sqrt".into(),
            found: 0
        }
    );
    assert_eq!(error("1//0"), ExpressionError::DivisionByZero);
    assert_eq!(error("0^-1"), ExpressionError::DivisionByZero);
    assert_eq!(error("1%0.0"), ExpressionError::DivisionByZero);
    assert_eq!(error("sqrt(-1)"), ExpressionError::Domain);
    assert_eq!(error("(-8)^(1/3)"), ExpressionError::Domain);
    assert_eq!(error("log(0)"), ExpressionError::Domain);
    assert_eq!(error("1e200^2"), ExpressionError::Overflow);
    assert_eq!(error("exp(1000)"), ExpressionError::Overflow);
    assert_eq!(error("10**400/1.0"), ExpressionError::Overflow);
    assert_eq!(error("x=5"), ExpressionError::NoValue);
    assert_eq!(error(";"), ExpressionError::NoValue);
}

#[test]
fn expressions_that_would_not_end_are_too_large() {
    for expression in [
        "9^9^9",
        "9**9**9**9",
        "2**100000",
        "(10**600)**3",
        "7**(10**300)",
    ] {
        assert_eq!(
            Calculate::evaluate(expression),
            Err(ExpressionError::TooLarge),
            "{expression}"
        );
    }
    let deep = format!("{}1{}", "(".repeat(100), ")".repeat(100));
    assert!(matches!(
        Calculate::evaluate(&deep),
        Err(ExpressionError::TooDeep { .. })
    ));
    let signs = format!("{}1", "-".repeat(900));
    assert!(matches!(
        Calculate::evaluate(&signs),
        Err(ExpressionError::TooDeep { .. })
    ));
    let long = "1+".repeat(600) + "1";
    assert!(matches!(
        Calculate::evaluate(&long),
        Err(ExpressionError::TooLong { .. })
    ));
}

proptest! {
    #[test]
    fn small_integers_have_the_results_of_machine_arithmetic(a in -999i64..999, b in -999i64..999, c in 1i64..99) {
        prop_assert_eq!(value(&format!("{a}+{b}*{c}")), (a + b * c).to_string());
        let (quotient, remainder) = (a.div_euclid(c), a.rem_euclid(c));
        prop_assert_eq!(value(&format!("({a})//{c}")), quotient.to_string());
        prop_assert_eq!(value(&format!("({a})%{c}")), remainder.to_string());
        prop_assert_eq!(value(&format!("({a})/{c}")).parse::<f64>().unwrap(), a as f64 / c as f64);
    }

    #[test]
    fn a_printed_double_is_the_same_double(bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        let printed = value(&format!("{double:e}"));
        prop_assert_eq!(printed.parse::<f64>().unwrap().to_bits(), bits);
    }

    #[test]
    fn a_quotient_of_long_integers_is_the_nearest_double(a in any::<u128>(), b in 1u128..) {
        // Both fit a ratio whose decimal expansion Rust rounds correctly.
        let quotient: f64 = value(&format!("{a}/{b}")).parse().unwrap();
        let exact = num_rational(a, b);
        prop_assert_eq!(quotient, exact);
    }

    #[test]
    fn no_text_panics(text in "[-+*/%^().,;=0-9a-e _!πx×]{0,60}") {
        let _ = Calculate::evaluate(&text);
    }
}

/// Returns the nearest double of a quotient, from 60 significant digits.
fn num_rational(a: u128, b: u128) -> f64 {
    let mut digits = (a / b).to_string();
    let mut rest = a % b;
    digits.push('.');
    for _ in 0..60 {
        // `rest * 10` may not fit 128 bits.
        let mut digit = 0;
        let mut next = 0u128;
        for _ in 0..10 {
            let room = b - rest;
            if next >= room {
                next -= room;
                digit += 1;
            } else {
                next += rest;
            }
        }
        digits.push(char::from(b'0' + digit));
        rest = next;
    }
    digits.parse().unwrap()
}
