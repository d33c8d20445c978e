//! Wraps and aligns Chinese and Latin text on a terminal. A Chinese character is two columns wide.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Punctuation that must not begin a line.
const CLOSING: &str = "，。；：、！？）】」』》”’…—,.;:!?)]}>";

/// Punctuation that must not end a line.
const OPENING: &str = "（【「『《“‘([{<";

/// Wraps text to the width of the terminal, but at most `max_width` columns. Without a terminal,
/// the width is `max_width`.
pub(crate) fn to_terminal(text: &str, max_width: usize) -> String {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = terminal
        .filter(|width| *width > 0)
        .map_or(max_width, |width| width.min(max_width));
    let lines: Vec<_> = text.split('\n').map(|line| fold(line, width)).collect();
    lines.join("\n")
}

/// Pads text with spaces on the right to `width` columns.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Pads text with spaces on the left to `width` columns.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// Wraps a line to `width` columns. Further lines are indented to the text of the first: after the
/// gap of a table, or at the margin. Colour sequences have no width. Words that are too long are
/// not broken.
fn fold(line: &str, width: usize) -> String {
    let margin = line.len() - line.trim_start().len();
    let gap = line[margin..].find("  ").map_or(margin, |gap| margin + gap);
    let text = line.len() - line[gap..].trim_start().len();
    let indent = width_of(&line[..text]);
    let (mut folded, mut column) = (line[..text].to_owned(), indent);
    for piece in pieces(&line[text..]) {
        if column + width_of(piece.trim_end()) > width && column > indent {
            folded.truncate(folded.trim_end().len());
            folded += "\n";
            folded += &" ".repeat(indent);
            column = indent;
        }
        folded += piece;
        column += width_of(piece);
    }
    folded
}

/// Splits text where a line may break. Words, names in backquotes, and punctuation with the word
/// that it follows stay together.
fn pieces(text: &str) -> Vec<&str> {
    let is_wide = |c: char| c.width() == Some(2);
    let (mut pieces, mut begin, mut quoted) = (Vec::new(), 0, false);
    let mut chars = text.char_indices().peekable();
    while let (Some((_, this)), Some(&(at, next))) = (chars.next(), chars.peek()) {
        quoted ^= this == '`';
        let beside_wide = is_wide(this) || is_wide(next);
        let may_break = beside_wide && !CLOSING.contains(next) && !OPENING.contains(this);
        if !quoted && next != ' ' && (this == ' ' || may_break) {
            pieces.push(&text[begin..at]);
            begin = at;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// Returns the width on a terminal, in columns.
fn width_of(text: &str) -> usize {
    let mut escape = false;
    let visible = text.chars().filter(|c| {
        escape |= *c == '\x1b';
        let shown = !escape;
        escape &= *c != 'm';
        shown
    });
    visible.filter_map(UnicodeWidthChar::width).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_fit_are_indented_and_keep_names_and_punctuation_together() {
        let text = "说明各层会放在哪个设备上（以及最快能有多快），见 `--gpu 0,1`。";
        let table = format!("  plan      {text}");
        for width in 36..=72 {
            let folded = fold(&table, width);
            assert!(
                folded.lines().all(|line| width_of(line) <= width),
                "{width}: {folded}"
            );
            let mut whole = String::new();
            for (index, line) in folded.lines().enumerate() {
                let line = line
                    .strip_prefix(if index == 0 {
                        "  plan      "
                    } else {
                        "            "
                    })
                    .unwrap();
                assert!(
                    !line.starts_with([' ', '，', '。', '）']) && !line.ends_with(['（', ' ']),
                    "{folded}"
                );
                whole += line;
            }
            assert_eq!(whole.replace(' ', ""), text.replace(' ', ""));
            assert!(folded.contains("`--gpu 0,1`"), "{width}: {folded}");
        }
        assert_eq!(fold(&table, 74), table);
    }

    #[test]
    fn cells_have_their_width_in_both_scripts_and_longer_ones_are_kept() {
        assert_eq!(
            (left("占比", 6).as_str(), right("占比", 6).as_str()),
            ("占比  ", "  占比")
        );
        for text in ["", "share", "占比", "解码 ms"] {
            assert!(
                width_of(&left(text, 8)) == 8 && width_of(&right(text, 8)) == 8,
                "{text}"
            );
        }
        assert_eq!(left("平方误差", 3) + &right("输出", 3), "平方误差输出");
    }

    #[test]
    fn lines_without_a_gap_are_indented_to_their_margin_and_colours_have_no_width() {
        assert_eq!(fold("    一二三四五", 10), "    一二三\n    四五");
        assert_eq!(
            fold("  \x1b[1m--aa\x1b[0m  一二三", 12),
            "  \x1b[1m--aa\x1b[0m  一二\n        三"
        );
        assert_eq!(
            fold("    https://example.org/path 一", 10),
            "    https://example.org/path\n    一"
        );
    }
}
