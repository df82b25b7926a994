//! The picture page: one card per input, with the soft labels it is given.

use std::collections::BTreeMap;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, imageops::FilterType};

use super::picture::{Picture, at_temperature_one, entropy};
use super::svg::{Anchor, Drawing, Figure};
use super::text;

/// So many of the most uncertain pictures lead the page.
const UNCERTAIN: usize = 6;
/// So many others follow, of every class in turn.
const OTHERS: usize = 24;
/// Most classes a card has a bar for.
const BARS: usize = 10;
/// Bars where there are more classes than that.
const TOP_BARS: usize = 6;
/// Larger pictures are scaled down to this.
const LARGEST: u32 = 128;

const WIDTH: f64 = 330.0;
const SIDE: f64 = 100.0;
const ROW: f64 = 15.0;
const TOP: f64 = 26.0;

/// Cards of the pictures where the teacher is least sure, then of the others.
#[derive(Debug, Default)]
pub(super) struct Cards {
    pub(super) uncertain: Vec<Figure>,
    pub(super) others: Vec<Figure>,
    /// Pictures whose values do not fit their own shape or the classes.
    pub(super) unusable: usize,
}

/// The cards; `temperature` is the method's.
pub(super) fn draw(pictures: &[Picture], classes: &[String], temperature: f64) -> Cards {
    let usable: Vec<&Picture> = pictures
        .iter()
        .filter(|picture| is_usable(picture, classes.len()))
        .collect();
    let mut order: Vec<(&Picture, f64)> = usable
        .iter()
        .map(|picture| {
            (
                *picture,
                entropy(&at_temperature_one(&picture.teacher, temperature)),
            )
        })
        .collect();
    order.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.id.cmp(&other.0.id)));
    // With few pictures, some of each class matter more than a long list of hard ones.
    let rest = order.split_off(UNCERTAIN.min(order.len().div_ceil(3)));

    let mut by_class: BTreeMap<Option<u32>, Vec<(&Picture, f64)>> = BTreeMap::new();
    for entry in rest {
        by_class.entry(entry.0.label).or_default().push(entry);
    }
    let rounds = by_class.values().map(Vec::len).max().unwrap_or(0);
    let mut others: Vec<(&Picture, f64)> = (0..rounds)
        .flat_map(|round| {
            by_class
                .values()
                .filter_map(move |entries| entries.get(round).copied())
        })
        .take(OTHERS)
        .collect();
    others.sort_by_key(|(picture, _)| (picture.label, picture.id));

    let cards = |chosen: &[(&Picture, f64)], group: &str| -> Vec<Figure> {
        chosen
            .iter()
            .enumerate()
            .map(|(place, (picture, bits))| {
                card(
                    &format!("{group}-{place}"),
                    picture,
                    *bits,
                    classes,
                    temperature,
                )
            })
            .collect()
    };
    Cards {
        uncertain: cards(&order, "uncertain"),
        others: cards(&others, "picture"),
        unusable: pictures.len() - usable.len(),
    }
}

/// All cards on one sheet, in columns of two below their key, for pages that can only show files.
pub(super) fn sheet(id: &str, title: &str, cards: &[Figure], key: &Figure) -> Figure {
    let mut drawing = Drawing::default();
    drawing.moved((0.0, 0.0), &key.body);
    let top = key.height + 14.0;
    let row_height = cards.iter().map(|card| card.height).fold(0.0, f64::max) + 18.0;
    for (place, card) in cards.iter().enumerate() {
        let corner = (
            (place % 2) as f64 * (WIDTH + 24.0),
            top + (place / 2) as f64 * row_height,
        );
        drawing.moved(corner, &card.body);
    }
    Figure {
        id: id.to_owned(),
        title: title.to_owned(),
        caption: String::new(),
        description: cards
            .iter()
            .map(|card| card.description.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        width: 2.0 * WIDTH + 24.0,
        height: top + row_height * cards.len().div_ceil(2) as f64,
        body: drawing.finish(),
    }
}

fn is_usable(picture: &Picture, classes: usize) -> bool {
    let distribution = |values: &[f32]| {
        values.len() == classes
            && values.iter().all(|p| p.is_finite() && *p >= 0.0)
            && values.iter().any(|p| *p > 0.0)
    };
    let values = picture
        .height
        .checked_mul(picture.width)
        .and_then(|pixels| pixels.checked_mul(picture.channels));
    values == Some(picture.pixels.len())
        && !picture.pixels.is_empty()
        && matches!(picture.channels, 1 | 3)
        && distribution(&picture.teacher)
        && (picture.student.is_empty() || distribution(&picture.student))
}

fn card(id: &str, picture: &Picture, bits: f64, classes: &[String], temperature: f64) -> Figure {
    let name = |class: usize| classes.get(class).map_or("?", String::as_str);
    let truth = picture.label.map(|label| label as usize);
    let label = truth.map_or("no label", name);
    let sharp = at_temperature_one(&picture.teacher, temperature);

    let mut drawing = Drawing::default();
    drawing.text(
        "card-title",
        (0.0, 13.0),
        Anchor::Start,
        &text::shortened(label, 24),
    );
    drawing.text(
        "tick",
        (WIDTH, 13.0),
        Anchor::End,
        &format!("sample {}", picture.id),
    );
    if let Some(source) = data_uri(picture) {
        let longest = picture.height.max(picture.width) as f64;
        let size = (
            SIDE * picture.width as f64 / longest,
            SIDE * picture.height as f64 / longest,
        );
        let corner = ((SIDE - size.0) / 2.0, TOP + (SIDE - size.1) / 2.0);
        drawing.image(
            corner,
            size,
            &source,
            &format!("sample {}, {label}", picture.id),
        );
    }
    let bits = format!("{} bits", text::fixed(bits, 2));
    drawing.text(
        "tick",
        (SIDE / 2.0, TOP + SIDE + 14.0),
        Anchor::Middle,
        &bits,
    );

    let shown = shown_classes(picture, truth);
    let (from, to) = (SIDE + 86.0, WIDTH - 34.0);
    let soften = temperature != 1.0;
    for (place, class) in shown.iter().copied().enumerate() {
        let y = TOP + ROW * place as f64;
        let style = if Some(class) == truth {
            "name true-name"
        } else {
            "name"
        };
        drawing.text(
            style,
            (from - 6.0, y + 11.0),
            Anchor::End,
            &text::shortened(name(class), 11),
        );
        drawing.rect("track", (from, y + 1.0), (to - from, ROW - 3.0), "");
        let length = |share: f64| share * (to - from);
        let hint = hint(picture, class, name(class), sharp[class], temperature);
        if soften {
            let soft = length(f64::from(picture.teacher[class]));
            drawing.rect(
                "teacher softened",
                (from, y + 1.0),
                (soft, ROW - 3.0),
                &hint,
            );
        }
        drawing.rect(
            "teacher fill",
            (from, y + 5.0),
            (length(sharp[class]), 4.0),
            &hint,
        );
        if let Some(share) = picture.student.get(class) {
            let x = from + length(f64::from(*share));
            drawing.line("distilled tick-mark", (x, y), (x, y + ROW - 1.0));
        }
        let percent = text::fixed(100.0 * sharp[class], 1);
        drawing.text("number", (WIDTH, y + 11.0), Anchor::End, &percent);
    }
    let best = (0..classes.len()).max_by(|one, other| sharp[*one].total_cmp(&sharp[*other]));
    Figure {
        id: id.to_owned(),
        title: format!("Sample {}: {label}", picture.id),
        caption: String::new(),
        description: best.map_or(String::new(), |class| {
            format!(
                "Sample {}, {label}: the teacher says {} with {} %.",
                picture.id,
                name(class),
                text::percent(sharp[class])
            )
        }),
        width: WIDTH,
        height: (TOP + SIDE + 20.0).max(TOP + ROW * shown.len() as f64 + 4.0),
        body: drawing.finish(),
    }
}

/// All classes where they fit; otherwise the true one and those the teacher finds most likely.
fn shown_classes(picture: &Picture, truth: Option<usize>) -> Vec<usize> {
    let classes = picture.teacher.len();
    if classes <= BARS {
        return (0..classes).collect();
    }
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by(|one, other| picture.teacher[*other].total_cmp(&picture.teacher[*one]));
    let truth = truth.filter(|truth| *truth < classes && !order[..TOP_BARS].contains(truth));
    order.truncate(TOP_BARS - usize::from(truth.is_some()));
    order.extend(truth);
    order
}

fn hint(picture: &Picture, class: usize, name: &str, sharp: f64, temperature: f64) -> String {
    let mut hint = format!("{name}: teacher {} %", text::percent(sharp));
    let at = text::fixed(temperature, 1);
    if temperature != 1.0 {
        let soft = text::percent(f64::from(picture.teacher[class]));
        hint.push_str(&format!(", {soft} % at temperature {at}"));
    }
    if let Some(student) = picture.student.get(class) {
        hint.push_str(&format!(
            "; student {} %",
            text::percent(f64::from(*student))
        ));
        if temperature != 1.0 {
            hint.push_str(&format!(" at temperature {at}"));
        }
    }
    hint
}

/// A small PNG; none if it cannot be encoded.
fn data_uri(picture: &Picture) -> Option<String> {
    let (width, height) = (
        u32::try_from(picture.width).ok()?,
        u32::try_from(picture.height).ok()?,
    );
    let pixels = picture.pixels.clone();
    let mut image = if picture.channels == 1 {
        DynamicImage::ImageLuma8(GrayImage::from_raw(width, height, pixels)?)
    } else {
        DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, pixels)?)
    };
    if width.max(height) > LARGEST {
        image = image.resize(LARGEST, LARGEST, FilterType::Triangle);
    }
    let mut bytes = Vec::new();
    image
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::tests::picture;

    #[test]
    fn many_classes_show_the_true_one() {
        let mut teacher = vec![0.0; 100];
        for (class, value) in teacher.iter_mut().enumerate().take(10) {
            *value = 0.1 - 0.001 * class as f32;
        }
        let picture = picture(teacher);
        assert_eq!(shown_classes(&picture, Some(50)), [0, 1, 2, 3, 4, 50]);
        assert_eq!(shown_classes(&picture, Some(2)), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn bad_pictures_are_left_out() {
        let good = picture(vec![0.5, 0.5]);
        let torn = Picture {
            height: 3,
            ..good.clone()
        };
        let other_classes = Picture {
            teacher: vec![1.0],
            ..good.clone()
        };
        let classes = ["a".to_owned(), "b".to_owned()];
        let cards = draw(&[good, torn, other_classes], &classes, 4.0);
        assert_eq!(
            (cards.uncertain.len(), cards.others.len(), cards.unusable),
            (1, 0, 2)
        );
    }
}
