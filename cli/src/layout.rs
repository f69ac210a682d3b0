//! How the columns of a list find room on a terminal: what may be shortened is, and what may be missed is left out. No row
//! ever takes two lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How much room is between two columns.
pub(crate) const GAP: usize = 2;

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// How narrow it may get; without this, it stays as wide as its widest cell.
    width_min: Option<usize>,
    /// When it is left out: the highest goes first, 0 never.
    rank: u8,
    /// Whether it is only shown with `-o wide`.
    pub(crate) is_wide: bool,
}

impl Column {
    /// A column that is always there, and never shortened.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, width_min: None, rank: 0, is_wide: false }
    }

    /// It may be shortened to this width.
    pub(crate) const fn shortened_to(self, width_min: usize) -> Self {
        Self { width_min: Some(width_min), ..self }
    }

    /// It may be left out, and is before those of a lower rank.
    pub(crate) const fn left_out(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// It is only shown where width does not matter.
    pub(crate) const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }
}

/// How wide each column is so that all fit into `width`; `None` is left out. `contents` are the widths of their contents.
pub(crate) fn arrange(columns: &[Column], contents: &[usize], width: Option<usize>) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = contents.iter().copied().map(Some).collect();
    let Some(width) = width else { return widths };
    let least = |index: usize| columns[index].width_min.unwrap_or(usize::MAX).min(contents[index]);
    loop {
        let shown: Vec<usize> = (0..columns.len()).filter(|index| widths[*index].is_some()).collect();
        let gaps = GAP * shown.len().saturating_sub(1);
        let needed: usize = shown.iter().map(|index| least(*index)).sum::<usize>() + gaps;
        if let Some(mut room) = width.checked_sub(needed) {
            // The first ones come first: they say what the row is about.
            for index in shown {
                let more = room.min(contents[index] - least(index));
                widths[index] = Some(least(index) + more);
                room -= more;
            }
            return widths;
        }
        let dispensable = shown.iter().copied().filter(|index| columns[*index].rank > 0);
        match dispensable.max_by_key(|index| columns[*index].rank) {
            Some(index) => widths[index] = None,
            None => {
                for index in shown {
                    widths[index] = Some(least(index));
                }
                return widths;
            }
        }
    }
}

/// How many columns of a terminal a text takes.
pub(crate) fn width_of(text: &str) -> usize {
    text.width()
}

/// A text in at most `width` columns of a terminal, with an ellipsis where something is missing.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let kept = text.chars().take_while(|character| {
        let taken = character.width().unwrap_or(0);
        let fits = taken <= room;
        room = if fits { room - taken } else { 0 };
        fits
    });
    let mut short: String = kept.collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A text in lines of at most `width` columns of a terminal, broken between words where there are any.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut rest = paragraph;
        while rest.width() > width {
            let mut taken = 0;
            let beyond = rest.char_indices().find(|(_, character)| {
                taken += character.width().unwrap_or(0);
                taken > width
            });
            let end = beyond.map_or(rest.len(), |(index, _)| index);
            // A character may be wider than the column.
            let end = end.max(rest.chars().next().map_or(0, char::len_utf8));
            let space = rest[..end].rfind(' ').filter(|space| *space > 0);
            let end = if rest[end..].starts_with(' ') { end } else { space.unwrap_or(end) };
            lines.push(rest[..end].trim_end().to_owned());
            rest = rest[end..].trim_start();
        }
        if !rest.is_empty() || paragraph.is_empty() {
            lines.push(rest.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("ID"),
        Column::new("TYPE").shortened_to(6),
        Column::new("TOOK").left_out(2),
        Column::new("REMARK").shortened_to(10).left_out(1),
    ];

    #[test]
    fn columns_are_shortened_and_then_left_out() {
        let arranged = |width| arrange(&COLUMNS, &[13, 15, 5, 60], width);
        assert_eq!(arranged(None), [Some(13), Some(15), Some(5), Some(60)]);
        assert_eq!(arranged(Some(99)), [Some(13), Some(15), Some(5), Some(60)]);
        assert_eq!(arranged(Some(60)), [Some(13), Some(15), Some(5), Some(21)]);
        assert_eq!(arranged(Some(40)), [Some(13), Some(6), Some(5), Some(10)], "exactly");
        assert_eq!(arranged(Some(39)), [Some(13), Some(12), None, Some(10)]);
        assert_eq!(arranged(Some(30)), [Some(13), Some(15), None, None]);
        assert_eq!(arranged(Some(5)), [Some(13), Some(6), None, None], "narrower than it can be");
    }

    #[test]
    fn texts_are_cut_by_what_they_take_on_a_terminal() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("shorter", 5), "shor…");
        assert_eq!(fit("one two", 5), "one…");
        assert_eq!(fit("日本語 text", 7), "日本語…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("any", 0), "…");
    }

    #[test]
    fn long_texts_are_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one\n\ntwo", 7), ["one", "", "two"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrap("日本語", 1), ["日", "本", "語"], "wider than the column");
        assert_eq!(wrap("", 9), [""]);
    }
}
