//! How output looks on the terminals of those who read it: the one helper of all tests of what is shown.

use crate::{layout::width_of, output::View};

/// The terminals of the snapshots: what most have, and one with room for everything.
const WIDTHS: [usize; 2] = [80, 200];
/// Terminals of no use, on which nothing may break.
const USELESS_WIDTHS: [usize; 4] = [0, 1, 20, 40];

/// What somebody sees who looks at 16:10 at a terminal of this width.
pub(crate) fn view(width: Option<usize>, colours: bool) -> View {
    let now = "2026-11-20T16:10:00Z".parse().unwrap();
    View { now, width, colours, is_wide: false, id_characters: View::ID_CHARACTERS_MIN }
}

/// What is drawn for a view, on each terminal with and without colours.
pub(crate) fn on_terminals(mut draw: impl FnMut(&View) -> String) -> String {
    for width in USELESS_WIDTHS {
        assert!(!draw(&view(Some(width), true)).is_empty(), "nothing is left at {width} columns");
    }
    on_widths(|width, colours| draw(&view(Some(width), colours)))
}

/// The same for what knows no views. No line is wider than its terminal, and colours change no letter.
pub(crate) fn on_widths(mut draw: impl FnMut(usize, bool) -> String) -> String {
    let mut shown = Vec::new();
    for width in WIDTHS {
        let (plain, coloured) = (draw(width, false), draw(width, true));
        for line in plain.lines() {
            assert!(width_of(line) <= width, "wider than {width}: {line}");
        }
        assert_eq!(without_colours(&coloured), plain);
        shown.push(format!("--- {width} columns\n{plain}"));
        shown.push(format!("--- {width} columns, in colours\n{}", coloured.replace('\u{1b}', "ESC")));
    }
    shown.join("\n\n")
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').expect("a colour ends with an m").1)
}
