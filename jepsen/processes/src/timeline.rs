//! A run as a picture: what was acknowledged when, and what was done to the nodes meanwhile.
//!
//! ```text
//!   n1  ▒▒▒▒ kill ▒▒▒▒
//!   n2                      ▒▒ cut ▒▒
//!   ────────────────────────────────────  time
//!   shard 1  ▁▃▃▃▁ ▁▃▃▃▃▃▃▁▁▃▃▃▃▃▃▃▃▃▃▃   acknowledged in each step of time
//!   failed            ╵ ╵╵
//! ```

use std::fmt::Write as _;
use std::time::Duration;

/// The width of a picture, without its margins, in its own units.
const WIDTH: f64 = 1_100.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 20.0;
const LANE: f64 = 18.0;
const SHARD: f64 = 44.0;
const GAP: f64 = 26.0;
/// Steps of time in a picture.
const STEPS: usize = 550;

/// Something that was done to nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What: the name of the fault.
    pub what: String,
    /// To whom, by place.
    pub nodes: Vec<usize>,
    /// From when.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
}

/// What a picture shows.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Above it.
    pub title: String,
    /// How long the run was.
    pub length: Duration,
    /// The names of the nodes.
    pub nodes: Vec<String>,
    /// What was done to them.
    pub spans: Vec<Span>,
    /// When writes of each shard were acknowledged, in order.
    pub acks: Vec<Vec<Duration>>,
    /// When operations ended in an error, or nobody knows how.
    pub errors: Vec<Duration>,
}

impl Timeline {
    /// The picture, as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let lanes = LANE * count(self.nodes.len());
        let shards = SHARD * count(self.acks.len());
        let (top, axis) = (40.0, 24.0);
        let height = top + lanes + GAP + shards + LANE + axis;
        let width = LEFT + WIDTH + RIGHT;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" font-family=\"sans-serif\" \
             font-size=\"11\">\n<rect width=\"{width}\" height=\"{height:.0}\" fill=\"#fff\"/>\n"
        );
        text(&mut svg, LEFT, 18.0, "start", &self.title);
        self.add_nodes(&mut svg, top);
        let shards_top = top + lanes + GAP;
        self.add_shards(&mut svg, shards_top);
        let errors_top = shards_top + shards;
        text(&mut svg, LEFT - 8.0, errors_top + 12.0, "end", "errors");
        for error in &self.errors {
            let x = self.x(*error);
            line(&mut svg, (x, errors_top + 3.0), (x, errors_top + 14.0), "#c22");
        }
        self.add_axis(&mut svg, errors_top + LANE);
        svg.push_str("</svg>\n");
        svg
    }

    fn add_nodes(&self, svg: &mut String, top: f64) {
        for (place, name) in self.nodes.iter().enumerate() {
            text(svg, LEFT - 8.0, top + LANE * count(place) + 12.0, "end", name);
        }
        for (number, Span { what, nodes, from, to }) in self.spans.iter().enumerate() {
            let (x, end) = (self.x(*from), self.x(*to));
            let wide = (end - x).max(2.0);
            for node in nodes {
                let y = top + LANE * count(*node);
                writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{} from {:.2} s to \
                     {:.2} s</title></rect>",
                    LANE - 3.0,
                    color(what),
                    escaped(what),
                    from.as_secs_f64(),
                    to.as_secs_f64()
                )
                .expect("a string takes all");
            }
            // Names of neighbours stand on two lines, or they would cover each other.
            let below = top + LANE * count(self.nodes.len()) + 9.0 + 9.0 * count(number % 2);
            text(svg, x, below, "start", what);
        }
    }

    fn add_shards(&self, svg: &mut String, top: f64) {
        let bars: Vec<Vec<u32>> = self.acks.iter().map(|acks| self.bars(acks)).collect();
        let highest = usual_max(&bars);
        for (shard, bars) in bars.iter().enumerate() {
            let floor = top + SHARD * (count(shard) + 1.0) - 4.0;
            text(svg, LEFT - 8.0, floor - 12.0, "end", &format!("shard {}", shard + 1));
            let mut points = format!("{LEFT:.1},{floor:.1}");
            for (step, bar) in bars.iter().enumerate() {
                let x = LEFT + WIDTH * count(step) / count(STEPS);
                let y = floor - (SHARD - 10.0) * f64::from((*bar).min(highest)) / f64::from(highest);
                let next = x + WIDTH / count(STEPS);
                write!(points, " {x:.1},{y:.1} {next:.1},{y:.1}").expect("a string takes all");
            }
            write!(points, " {:.1},{floor:.1}", LEFT + WIDTH).expect("a string takes all");
            writeln!(svg, "<polygon points=\"{points}\" fill=\"#58a\"/>").expect("a string takes all");
        }
    }

    fn add_axis(&self, svg: &mut String, y: f64) {
        line(svg, (LEFT, y), (LEFT + WIDTH, y), "#333");
        let seconds = self.length.as_secs().max(1);
        // About ten marks, at numbers that a reader likes.
        let every = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600].into_iter().find(|every| seconds / every <= 12);
        let every = every.unwrap_or(1_200);
        for second in (0..=seconds).step_by(usize::try_from(every).unwrap_or(1)) {
            let x = self.x(Duration::from_secs(second));
            line(svg, (x, y), (x, y + 4.0), "#333");
            text(svg, x, y + 15.0, "middle", &format!("{second} s"));
        }
    }

    fn x(&self, at: Duration) -> f64 {
        LEFT + WIDTH * (at.as_secs_f64() / self.length.as_secs_f64().max(0.001)).min(1.0)
    }

    /// How many came in each step.
    fn bars(&self, acks: &[Duration]) -> Vec<u32> {
        let mut bars = vec![0; STEPS];
        let step = self.length.div_f64(count(STEPS)).max(Duration::from_nanos(1));
        for ack in acks {
            let place = usize::try_from(ack.as_nanos() / step.as_nanos()).unwrap_or(usize::MAX);
            if let Some(bar) = bars.get_mut(place) {
                *bar += 1;
            }
        }
        bars
    }
}

/// What 95 of 100 steps in which something came do not exceed: what all send that have waited for a fault to end would
/// else make the rest too small to see.
fn usual_max(bars: &[Vec<u32>]) -> u32 {
    let mut bars: Vec<u32> = bars.iter().flatten().copied().filter(|bar| *bar > 0).collect();
    bars.sort_unstable();
    bars.get(bars.len() * 95 / 100).copied().unwrap_or(1)
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A color for a name: the same in every picture.
fn color(what: &str) -> &'static str {
    const COLORS: [&str; 8] = ["#e8a33d", "#c95f5f", "#7b9e57", "#9579b8", "#c9789b", "#5fa8a8", "#a8885f", "#8a8f3d"];
    let sum: usize = what.bytes().map(usize::from).sum();
    COLORS[sum % COLORS.len()]
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escaped(words);
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
        .expect("a string takes all");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\"/>")
        .expect("a string takes all");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_fault_and_every_shard() {
        let second = Duration::from_secs(1);
        let timeline = Timeline {
            title: "kill & <cut>".to_owned(),
            length: 60 * second,
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            spans: vec![
                Span { what: "kill".to_owned(), nodes: vec![0], from: 3 * second, to: 9 * second },
                Span { what: "cut".to_owned(), nodes: vec![0, 1], from: 20 * second, to: 30 * second },
            ],
            acks: vec![vec![second, second, 59 * second], vec![60 * second]],
            errors: vec![21 * second],
        };
        let svg = timeline.svg();
        assert!(svg.contains("kill &amp; &lt;cut&gt;"), "{svg}");
        assert_eq!(svg.matches("<rect x=").count(), 3, "one for each node that was hurt");
        assert_eq!(svg.matches("<polygon").count(), 2);
        assert!(svg.contains(">60 s<") && svg.contains("stroke=\"#c22\""));
        let bars = timeline.bars(&timeline.acks[0]);
        assert_eq!((bars.iter().sum::<u32>(), bars[9], bars.len()), (3, 2, STEPS));
        assert!(timeline.bars(&timeline.acks[1]).iter().all(|bar| *bar == 0), "what came after the end is not in it");
    }
}
