//! Lines and columns of Chinese and Latin text on a terminal, where a Chinese character takes two
//! places.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Punctuation that no line begins with.
const CLOSING: &str = "，。；：、！？）】」』》”’…—,.;:!?)]}>";

/// Punctuation that no line ends with.
const OPENING: &str = "（【「『《“‘([{<";

/// Text in lines as wide as the terminal, `most` places at most; of that width where there is no
/// terminal.
pub(crate) fn to_terminal(text: &str, most: usize) -> String {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = terminal
        .filter(|width| *width > 0)
        .map_or(most, |width| width.min(most));
    let lines: Vec<_> = text.split('\n').map(|line| fold(line, width)).collect();
    lines.join("\n")
}

/// A cell of a table: `text` and spaces to `width` places.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The same with the spaces in front, as numbers have them.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// The line in pieces of `width` places, the further ones below the text of the first: behind the
/// gap of a table, or at the margin. Escapes of colours take no place. What cannot be broken sticks
/// out.
fn fold(line: &str, width: usize) -> String {
    let margin = line.len() - line.trim_start().len();
    let gap = line[margin..].find("  ").map_or(margin, |gap| margin + gap);
    let text = line.len() - line[gap..].trim_start().len();
    let indent = places(&line[..text]);
    let (mut folded, mut column) = (line[..text].to_owned(), indent);
    for piece in pieces(&line[text..]) {
        if column + places(piece.trim_end()) > width && column > indent {
            folded.truncate(folded.trim_end().len());
            folded += "\n";
            folded += &" ".repeat(indent);
            column = indent;
        }
        folded += piece;
        column += places(piece);
    }
    folded
}

/// What stays together: words, names in backticks, and punctuation with what it belongs to.
fn pieces(text: &str) -> Vec<&str> {
    let is_wide = |c: char| c.width() == Some(2);
    let (mut pieces, mut begin, mut quoted) = (Vec::new(), 0, false);
    let mut chars = text.char_indices().peekable();
    while let (Some((_, this)), Some(&(at, next))) = (chars.next(), chars.peek()) {
        quoted ^= this == '`';
        let beside_wide = is_wide(this) || is_wide(next);
        let may_part = beside_wide && !CLOSING.contains(next) && !OPENING.contains(this);
        if !quoted && next != ' ' && (this == ' ' || may_part) {
            pieces.push(&text[begin..at]);
            begin = at;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// Places on a terminal.
fn places(text: &str) -> usize {
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
    fn folded_lines_fit_hang_below_their_text_and_keep_names_and_punctuation_whole() {
        let text = "说明各层会放在哪张卡上（以及最快能有多快），见 `--gpu 0,1`。";
        let table = format!("  plan      {text}");
        for width in 36..=72 {
            let folded = fold(&table, width);
            assert!(
                folded.lines().all(|line| places(line) <= width),
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
        assert_eq!(fold(&table, 72), table);
    }

    #[test]
    fn cells_are_as_wide_as_asked_in_either_alphabet_and_longer_ones_stick_out() {
        assert_eq!(
            (left("占比", 6).as_str(), right("占比", 6).as_str()),
            ("占比  ", "  占比")
        );
        for text in ["", "share", "占比", "解码 ms"] {
            assert!(
                places(&left(text, 8)) == 8 && places(&right(text, 8)) == 8,
                "{text}"
            );
        }
        assert_eq!(left("平方误差", 3) + &right("输出", 3), "平方误差输出");
    }

    #[test]
    fn lines_without_a_gap_hang_at_their_margin_and_colours_take_no_place() {
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
