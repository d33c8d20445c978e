//! The text of a commands segment to calls.

/// The text of a segment without calls.
const NONE: &str = "None";

/// A call in a model's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The name of the plugin.
    pub name: String,
    /// The arguments.
    pub arguments: Vec<String>,
    /// The call as the model wrote it, which the results repeat.
    pub text: String,
}

/// Returns the calls of a commands segment, in order. Calls are separated by `, ` or are on
/// separate lines, which may have numbers, and comments after `#`. Calls whose arguments are not
/// quoted are left out.
pub fn parse_calls(commands: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut rest = commands.trim_start();
    if rest.starts_with(NONE) && !rest[NONE.len()..].starts_with(is_name) {
        return calls;
    }
    while let Some(start) = rest.find(|c| is_name_start(c) || c == '#') {
        rest = &rest[start..];
        if rest.starts_with('#') {
            rest = after_line(rest);
            continue;
        }
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        let Some(opened) = after.strip_prefix('(') else {
            rest = after;
            continue;
        };
        match arguments(opened) {
            Some((arguments, end)) => {
                let length = rest.len() - end.len();
                calls.push(Call {
                    name: name.to_owned(),
                    arguments,
                    text: rest[..length].to_owned(),
                });
                rest = end;
            }
            None => rest = after_call(opened),
        }
    }
    calls
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Reads quoted arguments up to the closing bracket, and returns the text after it.
fn arguments(mut rest: &str) -> Option<(Vec<String>, &str)> {
    let mut arguments = Vec::new();
    loop {
        rest = skip_spaces(rest);
        let (argument, after) = literal(rest)?;
        arguments.push(argument);
        rest = skip_spaces(after);
        if let Some(end) = rest.strip_prefix(')') {
            return Some((arguments, end));
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// Reads a string literal of Python. A quote that is not followed by `,` or `)` is part of the
/// text.
fn literal(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let end = match quote {
        '"' | '\'' => quote,
        '“' => '”',
        _ => return None,
    };
    let mut value = String::new();
    let mut rest = text[quote.len_utf8()..].char_indices();
    while let Some((_, c)) = rest.next() {
        match c {
            '\n' | '\r' => return None,
            '\\' => match rest.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('\\' | '"' | '\'') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c if c == end && skip_spaces(rest.as_str()).starts_with([',', ')']) => {
                return Some((value, rest.as_str()));
            }
            c => value.push(c),
        }
    }
    None
}

fn skip_spaces(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Returns the text after the bracket that closes a call, or after the line.
fn after_call(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\n' => depth = 0,
            _ => {}
        }
        if depth == 0 {
            return &text[at + c.len_utf8()..];
        }
    }
    ""
}

fn after_line(text: &str) -> &str {
    text.find('\n').map_or("", |end| &text[end..])
}
