//! Solutions as SymPy 1.14 prints them.

use moss_plugins::{EquationError, Solve};
use proptest::prelude::*;

fn solutions(equations: &str) -> String {
    let lines = Solve::solutions(equations).unwrap_or_else(|error| panic!("{equations}: {error}"));
    lines.join(" | ")
}

#[test]
fn roots_have_the_form_of_sympy() {
    let cases = [
        ("x^2+2x-1=0", "x_0 = -1 + sqrt(2) | x_1 = -sqrt(2) - 1"),
        ("x^2-2x-1=0", "x_0 = 1 - sqrt(2) | x_1 = 1 + sqrt(2)"),
        ("x^2=2", "x_0 = -sqrt(2) | x_1 = sqrt(2)"),
        ("x^2+1=0", "x_0 = -I | x_1 = I"),
        (
            "x^2+x+1=0",
            "x_0 = -1/2 - sqrt(3)*I/2 | x_1 = -1/2 + sqrt(3)*I/2",
        ),
        (
            "x^2+x-1=0",
            "x_0 = -1/2 + sqrt(5)/2 | x_1 = -sqrt(5)/2 - 1/2",
        ),
        ("x^2-x-1=0", "x_0 = 1/2 - sqrt(5)/2 | x_1 = 1/2 + sqrt(5)/2"),
        ("3x^2=7", "x_0 = -sqrt(21)/3 | x_1 = sqrt(21)/3"),
        ("x^2=12", "x_0 = -2*sqrt(3) | x_1 = 2*sqrt(3)"),
        ("x^2+2x=11", "x_0 = -1 + 2*sqrt(3) | x_1 = -2*sqrt(3) - 1"),
        ("x^2-6x+4=0", "x_0 = 3 - sqrt(5) | x_1 = sqrt(5) + 3"),
        (
            "2x^2+6x+1=0",
            "x_0 = -3/2 - sqrt(7)/2 | x_1 = -3/2 + sqrt(7)/2",
        ),
        ("x^2+12=0", "x_0 = -2*sqrt(3)*I | x_1 = 2*sqrt(3)*I"),
        ("x^3-2x^2-x+2=0", "x_0 = -1 | x_1 = 1 | x_2 = 2"),
        ("9x^2-6x+1=0", "x = 1/3"),
        ("x^5=x^4", "x_0 = 0 | x_1 = 1"),
        (
            "x^2=2.25",
            "x_0 = -1.50000000000000 | x_1 = 1.50000000000000",
        ),
        ("x^2+4.0=0", "x_0 = -2.0*I | x_1 = 2.0*I"),
        (
            "x^2+2.5x+7=0",
            "x_0 = -1.25 - 2.3318447632722*I | x_1 = -1.25 + 2.3318447632722*I",
        ),
        ("x=0.5", "x = 0.500000000000000"),
        ("x=1e20", "x = 1.00000000000000e+20"),
        ("x=1e15", "x = 1.00000000000000e+15"),
        ("x=123456789012345.5", "x = 123456789012346."),
        ("x=1e-5", "x = 1.00000000000000e-5"),
        ("x=0.0001", "x = 0.000100000000000000"),
        ("12/x=3", "x = 4"),
        ("(x^2-1)/(x-1)=0", "x = -1"),
        ("x^2-5x+6", "x_0 = 2 | x_1 = 3"),
        ("2(x+3)=3x(2)-8", "x = 7/2"),
        ("x1+x2=5;x1-x2=1", "x1 = 3 | x2 = 2"),
        ("（x+1）÷2＝3；", "x = 5"),
    ];
    for (equations, expected) in cases {
        assert_eq!(solutions(equations), expected, "{equations}");
    }
}

#[test]
fn roots_without_a_closed_form_have_15_correct_digits() {
    assert_eq!(
        solutions("x^3+x+1=0"),
        "x_0 = -0.682327803828019 | x_1 = 0.34116390191401 - 1.16154139999725*I | \
         x_2 = 0.34116390191401 + 1.16154139999725*I"
    );
    // Wilkinson's example of degree 10: roots that doubles alone find with 12 digits.
    let wilkinson: String = (1..=10).map(|root| format!("(x-{root})")).collect();
    let expected: Vec<_> = (1..=10)
        .map(|root| format!("x_{} = {root}", root - 1))
        .collect();
    assert_eq!(solutions(&format!("{wilkinson}=0")), expected.join(" | "));
}

#[test]
fn errors_name_the_fault() {
    let error = |equations: &str| Solve::solutions(equations).unwrap_err();
    assert_eq!(error("x+y=3"), EquationError::Underdetermined);
    assert_eq!(error("x+y=3;2x+2y=6"), EquationError::Underdetermined);
    assert_eq!(error("x+y=3;2x+2y=7"), EquationError::Contradiction);
    assert_eq!(error("x=1;x=2"), EquationError::Contradiction);
    assert_eq!(error("1/x=0"), EquationError::Contradiction);
    assert_eq!(error("x/(1-1)=2"), EquationError::DivisionByZero);
    assert_eq!(error("x*y=6;x+y=5"), EquationError::NotPolynomial);
    assert_eq!(error("2^x=8"), EquationError::NotPolynomial);
    assert_eq!(
        error("cost=3"),
        EquationError::WordVariable {
            name: "cost".into()
        }
    );
    assert_eq!(error("1=2"), EquationError::NoUnknown);
    assert_eq!(error(""), EquationError::NoUnknown);
    assert_eq!(error("x=+"), EquationError::Syntax { position: 4 });
    assert_eq!(error("x=1=2"), EquationError::Syntax { position: 4 });
    assert_eq!(error("(x=1"), EquationError::Syntax { position: 3 });
    assert_eq!(error("x^99=1"), EquationError::TooLarge);
    assert_eq!(error("(x+y+z+w+u+v)^12=1;x=1"), EquationError::TooLarge);
    assert_eq!(error("x=9^64^9"), EquationError::TooLarge);
    // Numbers that would take minutes.
    let primes = [47, 43, 41, 37, 31, 29, 23, 19, 17, 13, 11, 7, 3];
    let terms = primes.iter().enumerate();
    let terms: Vec<_> = terms
        .map(|(power, prime)| format!("x^{power}/({prime}^50)^3"))
        .collect();
    let start = std::time::Instant::now();
    assert_eq!(
        error(&format!("{}=0", terms.join("+"))),
        EquationError::TooLarge
    );
    let row = |i: usize| {
        let term = |j: usize| {
            format!(
                "{}/{}^60*{}",
                i * j + 1,
                primes[(i + j) % 13],
                char::from(b'a' + j as u8)
            )
        };
        format!("{}={i}", (0..4).map(term).collect::<Vec<_>>().join("+"))
    };
    let system: Vec<_> = (0..4).map(row).collect();
    assert_eq!(error(&system.join(";")), EquationError::TooLarge);
    assert!(start.elapsed().as_secs() < 10);
}

proptest! {
    #[test]
    fn a_linear_system_has_the_solution_from_which_it_was_made(x in -99i32..99, y in -99i32..99, a in 1i32..20, b in 1i32..20) {
        let (sum, difference) = (a * x + b * y, a * x - b * y);
        let equations = format!("{a}x+{b}y={sum};{a}x-{b}y={difference}");
        prop_assert_eq!(solutions(&equations), format!("x = {x} | y = {y}"));
    }

    #[test]
    fn a_polynomial_has_the_whole_roots_from_which_it_was_made(mut roots in prop::collection::vec(-30i32..30, 1..7)) {
        let product: String = roots.iter().map(|root| format!("(x-({root}))")).collect();
        roots.sort_unstable();
        roots.dedup();
        let expected = match &roots[..] {
            [root] => format!("x = {root}"),
            roots => {
                let numbered = roots.iter().enumerate();
                let lines: Vec<_> = numbered.map(|(index, root)| format!("x_{index} = {root}")).collect();
                lines.join(" | ")
            }
        };
        prop_assert_eq!(solutions(&format!("{product}=0")), expected);
    }

    #[test]
    fn a_decimal_has_the_15_digits_that_rust_prints(mantissa in 100_000_000_000_000u64..999_999_999_999_999, shift in 0usize..15) {
        let digits = mantissa.to_string();
        let text = format!("{}.{}", &digits[..=shift], &digits[shift + 1..]);
        prop_assert_eq!(solutions(&format!("x={text}")), format!("x = {text}"));
    }

    #[test]
    fn no_text_panics_or_takes_long(text in "[-+*/^().,;=0-9xyz e]{0,60}") {
        moss_plugins::fuzzing::equations(&text);
    }
}
