//! Puts answered over time, and what was done meanwhile, as SVG.

use std::fmt::Write as _;

use super::steps::Done;
use super::watch::Seen;

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
/// Seconds that one bar stands for.
const STEP: f64 = 0.25;

/// The picture.
pub(super) fn svg(seen: &Seen, done: &[Done]) -> String {
    let last = seen.answered.iter().copied().fold(1.0, f64::max);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run has few steps")]
    let step_of = |second: f64| (second / STEP) as usize;
    let mut bars = vec![0_u32; step_of(last) + 1];
    seen.answered.iter().for_each(|second| bars[step_of(*second)] += 1);
    let rates: Vec<f64> = bars.iter().map(|count| f64::from(*count) / STEP).collect();
    let highest = rates.iter().copied().fold(1.0, f64::max);
    let x = |second: f64| LEFT + WIDTH * second / last;
    let y = |rate: f64| TOP + HEIGHT * (1.0 - rate / highest);
    let (width, height) = (LEFT + WIDTH + 20.0, TOP + HEIGHT + 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#fff\"/>\n"
    );
    for Done { what, from, to } in done {
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        let wide = (x(to) - x(from)).max(1.0);
        let color = color(what);
        add(
            &mut svg,
            &format!(
                "<rect x=\"{:.1}\" y=\"{TOP}\" width=\"{wide:.1}\" height=\"{HEIGHT}\" fill=\"{color}\" \
                 fill-opacity=\"0.35\"><title>{what}, {from:.2} s to {to:.2} s</title></rect>",
                x(from)
            ),
        );
    }
    let mut names = LEFT;
    for what in ["split", "transfer", "move", "balance"] {
        add(
            &mut svg,
            &format!("<rect x=\"{names:.0}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{}\"/>", color(what)),
        );
        add(&mut svg, &format!("<text x=\"{:.0}\" y=\"22\">{what}</text>", names + 16.0));
        names += 90.0;
    }
    let points = rates.iter().enumerate().map(|(step, rate)| {
        let second = f64::from(u32::try_from(step).unwrap_or(u32::MAX)) * STEP;
        format!("{:.1},{:.1}", x(second), y(*rate))
    });
    let points = points.collect::<Vec<_>>().join(" ");
    add(&mut svg, &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"#246\" stroke-width=\"0.8\"/>"));
    for part in [0.0, 0.5, 1.0] {
        let (rate, second) = (highest * part, last * part);
        add(
            &mut svg,
            &format!("<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{rate:.0}/s</text>", LEFT - 6.0, y(rate) + 4.0),
        );
        let floor = TOP + HEIGHT + 16.0;
        add(
            &mut svg,
            &format!("<text x=\"{:.1}\" y=\"{floor:.0}\" text-anchor=\"middle\">{second:.0} s</text>", x(second)),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn add(svg: &mut String, line: &str) {
    writeln!(svg, "{line}").expect("a string takes all");
}

fn color(what: &str) -> &'static str {
    match what {
        "split" => "#e8a33d",
        "transfer" => "#4ba36b",
        "move" => "#c2587a",
        _ => "#6a7fc1",
    }
}
