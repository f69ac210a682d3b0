//! Where the processor time of a job goes, as a picture: a bar for each measurement of throughput.

use svg::{
    Document,
    node::element::{Group, Line, Rectangle, Text, Title},
};

use super::report::{LoadReport, Report};

/// Whose threads are told apart.
const BACKEND: &str = "backend";
/// Those of them that have no part of their own.
const OTHER_THREADS: &str = "other threads";
const TITLE: &str = "Where the processor time of a job goes";

/// The picture's width; its height depends on how many bars there are.
const WIDTH: f64 = 1_000.0;
/// Where the bars begin: their names stand to the left of that.
const LEFT: f64 = 170.0;
/// What is left free to the right of the longest bar, for its numbers.
const RIGHT: f64 = 190.0;
const MARGIN: f64 = 20.0;
/// From one line of text to the next.
const LINE: f64 = 22.0;
const LETTERS_HIGH: f64 = 13.0;
/// About how wide a letter is, a little generously.
const LETTER: f64 = 7.0;
const BAR: f64 = 22.0;
/// From one bar to the next.
const STEP: f64 = 34.0;
/// How many marks the axis has at most, beside its zero.
const MARKS_MAX: f64 = 8.0;

/// Of a part, and of the number on it.
#[derive(Clone, Copy)]
struct Color {
    paper: &'static str,
    ink: &'static str,
}

const DARK: &str = "#222222";
const PALE: &str = "#dddddd";
/// The backend's threads, in the order in which they come.
const BACKEND_COLORS: [Color; 4] = [
    Color { paper: "#1b4f8f", ink: "#ffffff" },
    Color { paper: "#2f74c0", ink: "#ffffff" },
    Color { paper: "#6aa6e2", ink: DARK },
    Color { paper: "#9cc6ef", ink: DARK },
];
/// What else the backend took.
const REST_COLOR: Color = Color { paper: "#cfe3f7", ink: DARK };
/// The other programs.
const OTHER_COLORS: [(&str, Color); 3] = [
    ("worker", Color { paper: "#e08a2e", ink: DARK }),
    ("broker", Color { paper: "#2e7d4f", ink: "#ffffff" }),
    ("client", Color { paper: "#767676", ink: "#ffffff" }),
];

/// A measurement.
struct Bar<'a> {
    name: String,
    jobs_per_second: f64,
    parts: Vec<Part<'a>>,
}

/// What one program, or one kind of threads of the backend, took of a job.
struct Part<'a> {
    /// The program.
    program: &'a str,
    /// The name of the threads, if they are the backend's.
    threads: &'a str,
    microseconds: f64,
}

impl<'a> Bar<'a> {
    fn of(name: String, load: &'a LoadReport) -> Self {
        let mut parts = Vec::new();
        for program in &load.programs {
            let (program, threads, mut left) =
                (program.program, &program.threads, program.processor_us_per_job);
            if program == BACKEND {
                // By name, so that they come in the same order in every bar.
                let mut threads: Vec<_> = threads.iter().collect();
                threads.sort_by(|one, other| one.name.cmp(&other.name));
                for thread in threads {
                    // The kernel rounds each: no more of them than there is of all.
                    let microseconds = thread.processor_us_per_job.min(left);
                    left -= microseconds;
                    parts.push(Part { program, threads: &thread.name, microseconds });
                }
            }
            let threads = if program == BACKEND { OTHER_THREADS } else { "" };
            parts.push(Part { program, threads, microseconds: left });
        }
        parts.retain(|part| part.microseconds > 0.0);
        Self { name, jobs_per_second: load.jobs_per_second.median, parts }
    }

    fn total(&self) -> f64 {
        self.parts.iter().map(|part| part.microseconds).sum()
    }
}

impl Part<'_> {
    fn name(&self) -> String {
        [self.program, self.threads].join(" ").trim_end().to_owned()
    }

    fn is_of_named_threads(&self) -> bool {
        self.program == BACKEND && self.threads != OTHER_THREADS
    }
}

/// Draws what was measured.
pub(crate) fn of(report: &Report) -> String {
    let loads = report.loads.iter().map(|load| (load.load.to_owned(), load));
    let grown = report.growth.iter().map(|grown| (grown.name(), &grown.batches));
    let bars: Vec<Bar<'_>> = loads.chain(grown).map(|(name, load)| Bar::of(name, load)).collect();
    let legend = Legend::of(&bars);
    // Its own paper: a page around it may be dark.
    let paper = Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "#ffffff");
    let mut document = Document::new().add(Title::new(TITLE)).add(paper);
    let mut y = MARGIN + LETTERS_HIGH;
    document = document.add(text(TITLE.to_owned(), MARGIN, y, "start").set("font-weight", "bold"));
    for line in report.head() {
        y += LINE;
        document = document.add(text(line, MARGIN, y, "start"));
    }
    (document, y) = legend.draw(document, y + LINE * 1.5);
    let top = y + LINE * 0.75;
    let most = bars.iter().map(Bar::total).fold(0.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most.max(1.0);
    let mut drawn = Group::new();
    y = top;
    for bar in &bars {
        drawn = bar.draw(drawn, &legend, y, scale);
        y += STEP;
    }
    document = axis(document, top, y, most, scale).add(drawn);
    let height = y + LINE * 2.0 + MARGIN;
    let document = document
        .set("viewBox", format!("0 0 {WIDTH} {height}"))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .set("font-family", "sans-serif")
        .set("font-size", 13);
    format!("{document}\n")
}

impl Bar<'_> {
    /// Its name, then its parts, then its numbers.
    fn draw(&self, mut group: Group, legend: &Legend, y: f64, scale: f64) -> Group {
        let line = y + LETTERS_HIGH + (BAR - LETTERS_HIGH) / 2.0 - 1.0;
        group = group.add(text(self.name.clone(), LEFT - 8.0, line, "end"));
        let mut x = LEFT;
        for part in &self.parts {
            let (name, end) = (part.name(), x + part.microseconds * scale);
            let (color, number) = (legend.color(&name), format!("{:.0}", part.microseconds));
            let rectangle = Rectangle::new()
                .set("class", "part")
                .set("x", tenths(x))
                .set("y", y)
                .set("width", tenths((end * 10.0).round() / 10.0 - (x * 10.0).round() / 10.0))
                .set("height", BAR)
                .set("fill", color.paper);
            group = group.add(rectangle.add(Title::new(format!("{name}: {number} µs"))));
            if width_of(&number) + 4.0 < end - x {
                let number = text(number, f64::midpoint(x, end), line, "middle");
                group = group.add(number.set("fill", color.ink));
            }
            x = end;
        }
        let numbers = format!("{:.0} µs, {:.0} jobs/s", self.total(), self.jobs_per_second);
        group.add(text(numbers, x + 8.0, line, "start"))
    }
}

/// What the colours mean.
struct Legend(Vec<(String, Color)>);

impl Legend {
    /// All parts that there are, the backend's first.
    fn of(bars: &[Bar<'_>]) -> Self {
        let parts = || bars.iter().flat_map(|bar| &bar.parts);
        let mut entries: Vec<(String, Color)> = Vec::new();
        let mut colors = BACKEND_COLORS.into_iter();
        for part in parts().filter(|part| part.is_of_named_threads()).chain(parts()) {
            if entries.iter().all(|(name, _)| *name != part.name()) {
                let color =
                    OTHER_COLORS.iter().find(|(name, _)| *name == part.program).map(|(_, color)| *color);
                let next = || if part.is_of_named_threads() { colors.next() } else { None };
                entries.push((part.name(), color.or_else(next).unwrap_or(REST_COLOR)));
            }
        }
        let order = |name: &str| OTHER_COLORS.iter().position(|(other, _)| *other == name);
        entries.sort_by_key(|(name, _)| order(name).map_or(0, |place| place + 1));
        Self(entries)
    }

    fn color(&self, name: &str) -> Color {
        self.0.iter().find(|(known, _)| known == name).map_or(REST_COLOR, |(_, color)| *color)
    }

    /// In as many lines as it takes, from this one on. Returns where the last one is, too.
    fn draw(&self, mut document: Document, mut y: f64) -> (Document, f64) {
        let mut x = MARGIN;
        for (name, color) in &self.0 {
            let width = LETTERS_HIGH + 6.0 + width_of(name) + 12.0;
            if x + width > WIDTH {
                (x, y) = (MARGIN, y + LINE);
            }
            let square = Rectangle::new().set("x", tenths(x)).set("y", y - LETTERS_HIGH + 1.0);
            let square = square.set("width", LETTERS_HIGH).set("height", LETTERS_HIGH);
            document = document.add(square.set("fill", color.paper));
            document = document.add(text(name.clone(), x + LETTERS_HIGH + 6.0, y, "start"));
            x += width;
        }
        (document, y)
    }
}

/// Lines from `top` to `bottom`, and below what they stand for.
fn axis(mut document: Document, top: f64, bottom: f64, most: f64, scale: f64) -> Document {
    let (mut mark, every) = (0.0, mark_every(most));
    while mark <= most {
        let x = LEFT + mark * scale;
        let line = Line::new().set("x1", tenths(x)).set("x2", tenths(x)).set("y1", top - 6.0);
        document = document.add(line.set("y2", bottom).set("stroke", PALE));
        document = document.add(text(format!("{mark}"), x, bottom + LETTERS_HIGH + 3.0, "middle"));
        mark += every;
    }
    let what = "µs of processor time a job".to_owned();
    document.add(text(what, LEFT, bottom + LETTERS_HIGH + 3.0 + LINE, "start"))
}

/// 1, 2 or 5 times a power of ten, so that there are few enough marks.
fn mark_every(most: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if most / (factor * power) <= MARKS_MAX {
                return factor * power;
            }
        }
        power *= 10.0;
    }
}

fn text(content: String, x: f64, y: f64, anchor: &str) -> Text {
    let text = Text::new(content).set("x", tenths(x)).set("y", tenths(y));
    text.set("text-anchor", anchor).set("fill", DARK)
}

fn tenths(length: f64) -> String {
    format!("{length:.1}")
}

/// About how wide a text is: no font is asked.
fn width_of(text: &str) -> f64 {
    text.chars().map(|_| LETTER).sum()
}

#[cfg(test)]
mod tests {
    use svg::{node::element::tag::Type, parser::Event};

    use super::*;
    use crate::bench::report::tests::report;

    /// The rectangles that are parts of bars, as where they begin and how wide they are, from line to line; and all texts.
    fn parsed(picture: &str) -> (Vec<Vec<(f64, f64)>>, Vec<String>) {
        let (mut bars, mut texts, mut open) = (Vec::<Vec<(f64, f64)>>::new(), Vec::new(), Vec::new());
        let mut last_y = String::new();
        for event in svg::read(picture).unwrap() {
            match event {
                Event::Tag(name, Type::End, _) => assert_eq!(open.pop(), Some(name)),
                Event::Tag(name, kind, attributes) => {
                    if kind == Type::Start {
                        open.push(name);
                    }
                    if attributes.get("class").is_some_and(|class| **class == *"part") {
                        let number = |name: &str| attributes[name].parse::<f64>().unwrap();
                        if *attributes["y"] != *last_y {
                            last_y = attributes["y"].to_string();
                            bars.push(Vec::new());
                        }
                        bars.last_mut().unwrap().push((number("x"), number("width")));
                    }
                }
                Event::Text(text) => texts.push(text.to_owned()),
                Event::Error(error) => panic!("{error}"),
                Event::Comment(_) | Event::Declaration(_) | Event::Instruction(_) => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
        (bars, texts)
    }

    #[test]
    fn a_picture_has_a_bar_for_each_measurement() {
        let picture = of(&report());
        let (bars, texts) = parsed(&picture);
        assert_eq!(bars.len(), 6);
        for bar in &bars {
            let (first, _) = bar[0];
            assert!((first - LEFT).abs() < 0.05, "{bar:?}");
            for pair in bar.windows(2) {
                let ((x, width), (next, _)) = (pair[0], pair[1]);
                assert!((x + width - next).abs() < 0.01, "no gap, and nothing covered: {bar:?}");
            }
        }
        // 485 µs a job in the first three, and three times that beside many of something.
        let whole: Vec<f64> = bars.iter().map(|bar| bar.iter().map(|(_, width)| width).sum()).collect();
        let longest = WIDTH - LEFT - RIGHT;
        for (bar, share) in whole.iter().zip([1.0, 1.0, 1.0, 3.0, 3.0, 3.0]) {
            assert!((bar - longest * share / 3.0).abs() < 0.2, "{whole:?}");
        }
        for told in
            ["batches", "100 types", "485 µs, 5000 jobs/s", "backend crewcall-store", "worker", "1400"]
        {
            assert!(texts.iter().any(|text| text == told), "{told}: {texts:?}");
        }
        insta::assert_snapshot!(picture);
    }

    #[test]
    fn an_axis_has_few_round_marks() {
        let marks = [0.0, 3.0, 8.0, 8.1, 119.0, 1_455.0, 40_001.0].map(mark_every);
        assert_eq!(marks, [1.0, 1.0, 1.0, 2.0, 20.0, 200.0, 10_000.0]);
    }
}
