//! Text of an expression to tokens.

use num_bigint::BigInt;

use super::{error::ExpressionError, number::Number};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(Number),
    Name(String),
    Plus,
    Minus,
    Times,
    Divide,
    DivideFloor,
    Modulo,
    Power,
    Assign,
    Open,
    Close,
    Comma,
    /// The end of a statement.
    End,
}

/// Splits an expression into tokens, with the character at which each begins, counted from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExpressionError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&first) = characters.get(at) {
        let rest = &characters[at..];
        let next = rest.get(1).copied();
        let (length, token) = match first {
            '0'..='9' => number(rest, at)?,
            '.' if next.is_some_and(|next| next.is_ascii_digit()) => number(rest, at)?,
            'a'..='z' | 'A'..='Z' | '_' => name(rest),
            'π' => (1, Token::Name("pi".to_owned())),
            '*' if next == Some('*') => (2, Token::Power),
            '/' if next == Some('/') => (2, Token::DivideFloor),
            '^' => (1, Token::Power),
            '*' | '×' => (1, Token::Times),
            '/' | '÷' => (1, Token::Divide),
            '+' => (1, Token::Plus),
            '-' | '−' => (1, Token::Minus),
            '%' => (1, Token::Modulo),
            '=' => (1, Token::Assign),
            '(' | '（' => (1, Token::Open),
            ')' | '）' => (1, Token::Close),
            ',' | '，' => (1, Token::Comma),
            ';' | '；' | '\n' => (1, Token::End),
            space if space.is_whitespace() => {
                at += 1;
                continue;
            }
            _ => return Err(ExpressionError::Syntax { position: at + 1 }),
        };
        tokens.push((at + 1, token));
        at += length;
    }
    Ok(tokens)
}

fn name(rest: &[char]) -> (usize, Token) {
    let is_part = |c: &&char| c.is_ascii_alphanumeric() || matches!(**c, '_' | '.');
    let name: String = rest.iter().take_while(is_part).collect();
    let length = name.len();
    let plain = name.strip_prefix("math.").unwrap_or(&name);
    (length, Token::Name(plain.to_owned()))
}

/// Reads a decimal literal of Python.
fn number(rest: &[char], at: usize) -> Result<(usize, Token), ExpressionError> {
    let is_digit = |index: usize| rest.get(index).is_some_and(char::is_ascii_digit);
    let digits = |mut index: usize| {
        while is_digit(index)
            || (rest.get(index) == Some(&'_')
                && index > 0
                && is_digit(index - 1)
                && is_digit(index + 1))
        {
            index += 1;
        }
        index
    };
    let mut end = digits(0);
    let mut is_float = false;
    if rest.get(end) == Some(&'.') {
        is_float = true;
        end = digits(end + 1);
    }
    if matches!(rest.get(end), Some('e' | 'E')) {
        let sign = usize::from(matches!(rest.get(end + 1), Some('+' | '-')));
        if is_digit(end + 1 + sign) {
            is_float = true;
            end = digits(end + 1 + sign);
        }
    }
    let syntax = || ExpressionError::Syntax { position: at + 1 };
    let is_joined = rest
        .get(end)
        .is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let text: String = rest[..end].iter().filter(|c| **c != '_').collect();
    let has_leading_zero =
        !is_float && text.starts_with('0') && text.bytes().any(|digit| digit != b'0');
    if is_joined || has_leading_zero {
        return Err(syntax());
    }
    let number = if is_float {
        Number::Float(text.parse().map_err(|_| syntax())?)
    } else {
        Number::int(text.parse::<BigInt>().map_err(|_| syntax())?)?
    };
    Ok((end, Token::Number(number)))
}
