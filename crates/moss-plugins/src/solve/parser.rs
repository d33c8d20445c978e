//! Text of equations to fractions of polynomials.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Pow, ToPrimitive};

use super::{
    error::EquationError,
    polynomial::{Fraction, MAX_VARIABLES, Polynomial, Work},
};

/// The longest system, in bytes.
const MAX_BYTES: usize = 1000;
/// The most operators and brackets around a value.
const MAX_DEPTH: usize = 64;
/// The largest exponent.
const MAX_EXPONENT: i64 = 64;
/// The most digits after an `e`.
const MAX_POWER_OF_TEN: u32 = 300;

type Result<T> = std::result::Result<T, EquationError>;

/// The equations of a system, each as a fraction that is zero.
#[derive(Debug)]
pub(super) struct System {
    pub(super) equations: Vec<Fraction>,
    pub(super) names: Vec<String>,
    /// A number has a decimal point, so all solutions are printed as decimals.
    pub(super) has_decimals: bool,
}

struct Parser {
    characters: Vec<char>,
    next: usize,
    depth: usize,
    names: Vec<String>,
    has_decimals: bool,
    work: Work,
}

/// Parses equations that `;`, `,` or line ends separate. Expressions that are a single variable
/// name the unknown, and are ignored.
pub(super) fn parse(text: &str) -> Result<System> {
    if text.len() > MAX_BYTES {
        return Err(EquationError::TooLong { limit: MAX_BYTES });
    }
    let mut parser = Parser {
        characters: text.chars().map(plain).collect(),
        next: 0,
        depth: 0,
        names: Vec::new(),
        has_decimals: false,
        work: Work::default(),
    };
    let equations = parser.equations()?;
    Ok(System {
        equations,
        names: parser.names,
        has_decimals: parser.has_decimals,
    })
}

/// Replaces characters of Chinese and typographic text.
fn plain(c: char) -> char {
    match c {
        '×' | '·' => '*',
        '÷' => '/',
        '−' => '-',
        '＝' => '=',
        '（' => '(',
        '）' => ')',
        '；' | '，' | ',' | '\n' => ';',
        c => c,
    }
}

impl Parser {
    fn equations(&mut self) -> Result<Vec<Fraction>> {
        let mut equations = Vec::new();
        loop {
            while self.take(';') {}
            if self.peek().is_none() {
                return Ok(equations);
            }
            let start = self.next;
            let left = self.sum()?;
            if self.take('=') {
                self.take('='); // also `==`
                let right = self.sum()?.negate();
                equations.push(left.add(right, &self.work)?);
            } else if !self.is_name(start) {
                equations.push(left);
            }
            if self.peek().is_some() && !self.take(';') {
                return Err(self.syntax());
            }
        }
    }

    /// Returns true if the text from `start` to the next character is a variable.
    fn is_name(&self, start: usize) -> bool {
        let text: String = self.characters[start..self.next].iter().collect();
        self.names.iter().any(|name| name == text.trim())
    }

    fn sum(&mut self) -> Result<Fraction> {
        let mut value = self.product()?;
        loop {
            let next = if self.take('+') {
                self.product()?
            } else if self.take('-') {
                self.product()?.negate()
            } else {
                return Ok(value);
            };
            value = value.add(next, &self.work)?;
        }
    }

    /// Reads a product. Between two factors without an operator, `*` is implied.
    fn product(&mut self) -> Result<Fraction> {
        let mut value = self.factor()?;
        loop {
            if self.take('/') {
                let divisor = self.factor()?;
                value = value.divide(divisor, &self.work)?;
                continue;
            }
            let is_implied = self.peek().is_some_and(|c| c == '(' || is_operand(c));
            if !self.take('*') && !is_implied {
                return Ok(value);
            }
            let factor = self.factor()?;
            value = value.multiply(&factor, &self.work)?;
        }
    }

    fn factor(&mut self) -> Result<Fraction> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EquationError::TooDeep { limit: MAX_DEPTH });
        }
        let value = if self.take('+') {
            self.factor()
        } else if self.take('-') {
            self.factor().map(Fraction::negate)
        } else {
            self.power()
        };
        self.depth -= 1;
        value
    }

    fn power(&mut self) -> Result<Fraction> {
        let base = self.atom()?;
        let is_power = self.take('^') || self.take_both('*', '*');
        if !is_power {
            return Ok(base);
        }
        let exponent = self.factor()?;
        let exponent = match (exponent.top.as_constant(), exponent.bottom.as_constant()) {
            (Some(top), Some(bottom)) => top / bottom,
            _ => return Err(EquationError::NotPolynomial),
        };
        let exponent = Some(exponent).filter(BigRational::is_integer);
        let exponent = exponent.ok_or(EquationError::NotPolynomial)?.to_i64();
        let exponent = exponent.filter(|exponent| exponent.abs() <= MAX_EXPONENT);
        base.power(exponent.ok_or(EquationError::TooLarge)? as i32, &self.work)
    }

    fn atom(&mut self) -> Result<Fraction> {
        let next = self.peek().ok_or_else(|| self.syntax())?;
        if self.take('(') {
            let value = self.sum()?;
            return match self.take(')') {
                true => Ok(value),
                false => Err(self.syntax()),
            };
        }
        if next.is_ascii_digit() || next == '.' {
            let value = self.number()?;
            return Ok(Polynomial::constant(value).into());
        }
        if is_operand(next) {
            return Ok(Polynomial::variable(self.variable()?).into());
        }
        Err(self.syntax())
    }

    fn number(&mut self) -> Result<BigRational> {
        let (whole, mut digits) = (self.digits(), String::new());
        let has_point = self.characters.get(self.next) == Some(&'.');
        if has_point {
            self.next += 1;
            digits = self.digits();
        }
        if whole.is_empty() && digits.is_empty() {
            return Err(self.syntax());
        }
        let places = digits.len() as u32;
        let value: BigInt = format!("{whole}{digits}")
            .parse()
            .map_err(|_| self.syntax())?;
        let mut value = BigRational::new(value, BigInt::from(10).pow(places));
        let is_exponent = matches!(self.characters.get(self.next), Some('e' | 'E'));
        let sign = self.characters.get(self.next + 1).copied();
        let signed = usize::from(matches!(sign, Some('+' | '-')));
        let first = self.characters.get(self.next + 1 + signed);
        if is_exponent && first.is_some_and(char::is_ascii_digit) {
            self.next += 1 + signed;
            let power: u32 = self.digits().parse().map_err(|_| EquationError::TooLarge)?;
            if power > MAX_POWER_OF_TEN {
                return Err(EquationError::TooLarge);
            }
            let scale = BigRational::from(Pow::pow(BigInt::from(10), power));
            value = if sign == Some('-') {
                value / scale
            } else {
                value * scale
            };
            self.has_decimals = true;
        }
        self.has_decimals |= has_point;
        Ok(value)
    }

    fn digits(&mut self) -> String {
        let rest = &self.characters[self.next..];
        let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
        self.next += digits.len();
        digits
    }

    /// Reads a variable: a letter, and digits that number it.
    fn variable(&mut self) -> Result<usize> {
        let rest = &self.characters[self.next..];
        let is_part = |c: &&char| c.is_alphanumeric() || **c == '_';
        let word: String = rest.iter().take_while(is_part).collect();
        let mut letters = word.chars().skip(1).filter(|c| *c != '_');
        if !word.starts_with(char::is_alphabetic) || letters.any(|c| !c.is_ascii_digit()) {
            return Err(EquationError::WordVariable { name: word });
        }
        self.next += word.chars().count();
        if let Some(index) = self.names.iter().position(|name| *name == word) {
            return Ok(index);
        }
        if self.names.len() == MAX_VARIABLES {
            return Err(EquationError::TooLarge);
        }
        self.names.push(word);
        Ok(self.names.len() - 1)
    }

    /// Returns the next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        while self
            .characters
            .get(self.next)
            .is_some_and(|c| c.is_whitespace())
        {
            self.next += 1;
        }
        self.characters.get(self.next).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let next = self.peek();
        let is_power = wanted == '*' && self.characters.get(self.next + 1) == Some(&'*');
        let found = next == Some(wanted) && !is_power;
        self.next += usize::from(found);
        found
    }

    fn take_both(&mut self, first: char, second: char) -> bool {
        let next = self.peek();
        let found = next == Some(first) && self.characters.get(self.next + 1) == Some(&second);
        self.next += 2 * usize::from(found);
        found
    }

    fn syntax(&self) -> EquationError {
        EquationError::Syntax {
            position: self.next + 1,
        }
    }
}

fn is_operand(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}
