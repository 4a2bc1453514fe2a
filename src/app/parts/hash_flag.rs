//! The mark of a hash: a small flag whose cut and colours follow from its first bytes, always beside its first digits.

use leptos::prelude::*;

/// The colours of the favicon, which cannot see the style sheet: the light values of `--m0` … `--m11`.
const COLOURS: [&str; 12] = [
    "oklch(36% 0.14 266)",
    "oklch(60% 0.14 252)",
    "oklch(84% 0.08 235)",
    "oklch(38% 0.13 22)",
    "oklch(63% 0.19 35)",
    "oklch(86% 0.15 88)",
    "oklch(35% 0.07 165)",
    "oklch(60% 0.12 160)",
    "oklch(86% 0.12 140)",
    "oklch(37% 0.15 320)",
    "oklch(62% 0.19 345)",
    "oklch(85% 0.07 330)",
];

/// Three bands: upright, level, slanting.
const CUTS: [[&str; 3]; 3] = [
    ["M0 0h6v12H0z", "M6 0h6v12H6z", "M12 0h6v12h-6z"],
    ["M0 0h18v4H0z", "M0 4h18v4H0z", "M0 8h18v4H0z"],
    ["M0 0h12L0 12z", "M12 0h6L6 12H0z", "M18 0v12H6z"],
];

/// The digits of a hash or digest, without the name of its algorithm.
pub fn digits(hash: &str) -> &str {
    hash.strip_prefix("sha256:").unwrap_or(hash)
}

/// Path and colour of each band.
fn bands(hash: &str) -> [(&'static str, usize); 3] {
    let byte = |i: usize| digits(hash).get(2 * i..2 * i + 2).and_then(|h| usize::from_str_radix(h, 16).ok()).unwrap_or(0);
    // Touching bands never share a lightness (index modulo 3): colour-blind eyes distinguish lightness, not hue.
    let after = |colour: usize, byte: usize| ((byte % 8) >> 1) * 3 + (colour % 3 + 1 + (byte & 1)) % 3;
    let first = byte(1) % 12;
    let second = after(first, byte(2));
    let third = after(second, byte(3));
    let cut = CUTS[byte(0) % 3];
    [(cut[0], first), (cut[1], second), (cut[2], third)]
}

/// The mark alone.
#[component]
pub fn HashFlag(
    /// A hash, a version or a digest.
    hash: String,
) -> impl IntoView {
    view! { <svg class="mark" viewBox="0 0 18 12" aria-hidden="true" inner_html=paths(&hash)></svg> }
}

/// The bands as markup, all of it our own: the browser reads that faster than a page can build it, and a board has hundreds.
pub fn paths(hash: &str) -> String {
    bands(hash).map(|(d, colour)| format!("<path class=\"m{colour}\" d=\"{d}\"/>")).concat()
}

/// The icon of the tab: the mark, and where something is wrong a sign that is seen without colour too.
pub fn icon(hash: &str, is_wrong: bool) -> String {
    let paths: String = bands(hash).iter().map(|(d, c)| format!("<path d='{d}' fill='{}'/>", COLOURS[*c])).collect();
    let sign = "<circle cx='13' cy='10' r='5' fill='#b42318' stroke='#fff'/><path d='M12.3 7h1.4v3.6h-1.4zM12.3 11.6h1.4v1.4h-1.4z' fill='#fff'/>";
    let sign = if is_wrong { sign } else { "" };
    format!("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 -3 18 18'>{paths}{sign}</svg>")
}
