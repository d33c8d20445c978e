//! Results of calls to the text of a results segment.

use crate::{Call, Image, Output, Passage, PluginError, ResultKind};

/// The text of a call without a result.
pub const NO_RESULT: &str = "No result.";
/// The text of a segment without results.
const NONE: &str = "None";
/// The result of every picture, without its call.
const PICTURE: &str = "Image generated successfully.";
/// The most passages of a search. The model was trained with three.
const MAX_PASSAGES: usize = 3;
/// The most characters of a passage, of a value and of a line. The longest one of the model's
/// training data has 511.
pub(crate) const MAX_CHARS: usize = 512;
/// The most characters of the lines and passages of all calls together: three passages.
const MAX_TOTAL: usize = MAX_PASSAGES * MAX_CHARS;
/// The characters that a call may have however many there are.
const MIN_SHARE: usize = 64;
/// The longest address of a page, in bytes.
const MAX_URL: usize = 2000;
/// The most lines of a result.
const MAX_LINES: usize = 16;

/// A call and its outcome.
#[derive(Debug)]
pub struct CallReport {
    /// The call.
    pub call: Call,
    /// The form of its result.
    pub kind: ResultKind,
    /// The result.
    pub outcome: Result<Output, PluginError>,
}

/// A passage that the answer may cite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The number in the results, from 1 on.
    pub number: usize,
    /// The passage.
    pub passage: Passage,
}

/// The results of a turn.
#[derive(Debug)]
pub struct Results {
    /// The text of the results segment, without its label and without a line end.
    pub text: String,
    /// The calls of known plugins, in the order of the text.
    pub calls: Vec<CallReport>,
    /// The passages of all searches.
    pub sources: Vec<Source>,
}

impl Results {
    /// Composes the text from calls, which are ordered by plugin.
    pub(crate) fn compose(mut calls: Vec<CallReport>) -> Self {
        let (mut lines, mut sources) = (Vec::new(), Vec::new());
        let share = (MAX_TOTAL / calls.len().max(1)).max(MIN_SHARE);
        for report in &mut calls {
            report.outcome = match std::mem::replace(&mut report.outcome, Ok(Output::Lines(vec![])))
            {
                Ok(output) => checked(output, share),
                Err(error) => Err(error),
            };
            lines.extend(shown(report, &mut sources));
        }
        let text = if lines.is_empty() {
            NONE.to_owned()
        } else {
            lines.join("\n")
        };
        Self {
            text,
            calls,
            sources,
        }
    }

    /// Returns the pictures.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.calls
            .iter()
            .filter_map(|report| match &report.outcome {
                Ok(Output::Image(image)) => Some(image),
                _ => None,
            })
    }
}

/// Returns the lines of a result.
fn shown(report: &CallReport, sources: &mut Vec<Source>) -> Vec<String> {
    let echo = &report.call.text;
    match &report.outcome {
        Ok(Output::Value(value)) => vec![format!("{echo} => '{value}'")],
        Err(_) if report.kind == ResultKind::Value => vec![format!("{echo} => '{NO_RESULT}'")],
        Ok(Output::Image(_)) => vec![PICTURE.to_owned()],
        Ok(Output::Lines(lines)) => {
            let lines = lines.iter().cloned();
            std::iter::once(format!("{echo} =>")).chain(lines).collect()
        }
        Ok(Output::Passages(passages)) => {
            let mut lines = vec![format!("{echo} =>")];
            for passage in passages {
                let number = sources.len() + 1;
                lines.push(format!("<|{number}|>: '{}'", passage.text));
                sources.push(Source {
                    number,
                    passage: passage.clone(),
                });
            }
            lines
        }
        Err(_) => vec![format!("{echo} =>"), NO_RESULT.to_owned()],
    }
}

/// Limits an output to `share` characters, and makes each of its texts one line. Values are short.
fn checked(output: Output, share: usize) -> Result<Output, PluginError> {
    let one_line = |text: &str| one_line(text, MAX_CHARS);
    let lines = |lines: Vec<String>| -> Vec<String> {
        let lines = lines.iter().map(|line| one_line(line));
        let mut left = share.max(MAX_CHARS);
        let fits = |line: &String| {
            let length = line.chars().count();
            let fits = length <= left;
            left = left.saturating_sub(length);
            fits
        };
        lines
            .filter(|line| !line.is_empty())
            .take(MAX_LINES)
            .take_while(fits)
            .collect()
    };
    let passage_chars = MAX_CHARS.min(share / MAX_PASSAGES);
    Ok(match output {
        Output::Value(value) => {
            let value = one_line(&value);
            if value.is_empty() {
                return Err(PluginError::Nothing);
            }
            Output::Value(value)
        }
        Output::Lines(all) => {
            let all = lines(all);
            if all.is_empty() {
                return Err(PluginError::Nothing);
            }
            Output::Lines(all)
        }
        Output::Passages(passages) => {
            let passages = passages.into_iter().map(|passage| Passage {
                text: self::one_line(&passage.text, passage_chars),
                title: one_line(&passage.title),
                url: page(&passage.url),
            });
            let passages = passages.filter(|passage| !passage.text.is_empty());
            let passages: Vec<_> = passages.take(MAX_PASSAGES).collect();
            if passages.is_empty() {
                return Err(PluginError::Nothing);
            }
            Output::Passages(passages)
        }
        image @ Output::Image(_) => image,
    })
}

/// Returns the address of a page of the web; empty for another one.
fn page(url: &str) -> String {
    let is_page = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !is_invisible(c);
    if is_page && url.len() <= MAX_URL && url.chars().all(is_plain) {
        return url.to_owned();
    }
    String::new()
}

/// Returns the start of a text in one line. A run of white space or control characters becomes a
/// space, and `<|` is separated, so that a text cannot imitate the labels and numbers around it.
fn one_line(text: &str, most: usize) -> String {
    let is_space = |c: char| c.is_whitespace() || c.is_control() || is_invisible(c);
    let words = text.split(is_space).filter(|word| !word.is_empty());
    let mut line = String::new();
    for word in words.take(most) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * most {
            break;
        }
    }
    let line = line.replace("<|", "< |");
    line.chars()
        .take(most)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Returns true for characters that change the direction of text, or are not visible.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}
