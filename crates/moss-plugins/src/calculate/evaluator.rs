//! Evaluates the statements of an expression while it parses them.

use std::collections::HashMap;

use super::{
    error::ExpressionError,
    functions,
    lexer::{Token, tokens},
    number::Number,
};

/// The longest expression, in bytes.
const MAX_BYTES: usize = 1000;
/// The most operators and brackets around a value.
const MAX_DEPTH: usize = 64;

type Result<T = Number> = std::result::Result<T, ExpressionError>;

struct Evaluator {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    variables: HashMap<String, Number>,
}

/// Returns the value of the last statement, as Python prints it.
pub(super) fn evaluate(text: &str) -> Result<String> {
    if text.len() > MAX_BYTES {
        return Err(ExpressionError::TooLong { limit: MAX_BYTES });
    }
    let mut evaluator = Evaluator {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        variables: HashMap::new(),
    };
    let value = evaluator.statements()?;
    Ok(value.ok_or(ExpressionError::NoValue)?.to_string())
}

impl Evaluator {
    /// Runs all statements. An assignment has no value.
    fn statements(&mut self) -> Result<Option<Number>> {
        let mut value = None;
        while self.next < self.tokens.len() {
            if self.take(&Token::End) {
                continue;
            }
            value = self.statement()?;
            if self.next < self.tokens.len() && !self.take(&Token::End) {
                return Err(self.syntax());
            }
        }
        Ok(value)
    }

    fn statement(&mut self) -> Result<Option<Number>> {
        let start = self.tokens.get(self.next..self.next + 2);
        if let Some([(_, Token::Name(name)), (_, Token::Assign)]) = start {
            let name = name.clone();
            self.next += 2;
            let value = self.sum()?;
            self.variables.insert(name, value);
            return Ok(None);
        }
        self.sum().map(Some)
    }

    fn sum(&mut self) -> Result {
        let mut value = self.product()?;
        loop {
            if self.take(&Token::Plus) {
                value = value.add(self.product()?)?;
            } else if self.take(&Token::Minus) {
                value = value.subtract(self.product()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result {
        let mut value = self.factor()?;
        loop {
            let operation = match self.peek() {
                Some(Token::Times) => Number::multiply,
                Some(Token::Divide) => Number::divide,
                Some(Token::DivideFloor) => Number::divide_floor,
                Some(Token::Modulo) => Number::modulo,
                _ => return Ok(value),
            };
            self.next += 1;
            value = operation(value, self.factor()?)?;
        }
    }

    /// Reads a signed power. A sign in front of a power applies to its value, as in Python.
    fn factor(&mut self) -> Result {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpressionError::TooDeep { limit: MAX_DEPTH });
        }
        let value = if self.take(&Token::Plus) {
            self.factor()
        } else if self.take(&Token::Minus) {
            self.factor().map(Number::negate)
        } else {
            self.power()
        };
        self.depth -= 1;
        value
    }

    fn power(&mut self) -> Result {
        let base = self.atom()?;
        if self.take(&Token::Power) {
            return base.power(self.factor()?);
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result {
        let token = self.peek().cloned().ok_or_else(|| self.syntax())?;
        let syntax = self.syntax();
        self.next += 1;
        match token {
            Token::Number(number) => Ok(number),
            Token::Name(name) if self.take(&Token::Open) => {
                let arguments = self.arguments()?;
                functions::call(&name, arguments)
            }
            Token::Name(name) => {
                let variable = self.variables.get(&name).cloned();
                let value = variable.or_else(|| functions::constant(&name));
                value.ok_or(ExpressionError::UnknownName { name })
            }
            Token::Open => {
                let value = self.sum()?;
                self.close()?;
                Ok(value)
            }
            _ => Err(syntax),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Number>> {
        let mut arguments = Vec::new();
        if self.take(&Token::Close) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.sum()?);
            if !self.take(&Token::Comma) {
                self.close()?;
                return Ok(arguments);
            }
        }
    }

    fn close(&mut self) -> Result<()> {
        if self.take(&Token::Close) {
            return Ok(());
        }
        Err(self.syntax())
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    /// Returns the error for the next token, or for the end.
    fn syntax(&self) -> ExpressionError {
        let end = self.tokens.last().map_or(1, |(position, _)| position + 1);
        let next = self.tokens.get(self.next);
        ExpressionError::Syntax {
            position: next.map_or(end, |(position, _)| *position),
        }
    }
}
