#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::fixture::Sample;
use super::*;

/// Writes reports to look at into the folder of the environment variable `LIMBECK_REPORT_OUT`.
#[test]
fn samples_to_look_at() {
    let Some(folder) = std::env::var_os("LIMBECK_REPORT_OUT") else {
        println!("skipped: LIMBECK_REPORT_OUT is not set");
        return;
    };
    let mut runs = Vec::new();
    for (name, sample) in [("ten", Sample::TEN), ("hundred", Sample::HUNDRED)] {
        let directory = Path::new(&folder).join(name);
        fs::create_dir_all(&directory).unwrap();
        let (summary, pictures) = sample.write(&directory);
        write(&directory, &summary, &pictures).unwrap();
        runs.push(directory);
    }
    write_comparison(&runs, Path::new(&folder)).unwrap();
}

/// HTML, Markdown and the folder they were made in.
type Made = (String, String, tempfile::TempDir);

fn made(change: impl FnOnce(&Path, &mut Summary, &mut Vec<Picture>)) -> Made {
    made_from(
        Sample {
            rows: 400,
            epochs: 6,
            ..Sample::TEN
        },
        change,
    )
}

fn made_from(sample: Sample, change: impl FnOnce(&Path, &mut Summary, &mut Vec<Picture>)) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let (mut summary, mut pictures) = sample.write(directory);
    change(directory, &mut summary, &mut pictures);
    write(directory, &summary, &pictures).unwrap();
    let html = fs::read_to_string(directory.join("report.html")).unwrap();
    let markdown = fs::read_to_string(directory.join("report.md")).unwrap();
    check_html(&html);
    check_figures(directory, &markdown);
    (html, markdown, folder)
}

fn parsed(xml: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    roxmltree::Document::parse_with_options(xml, options).unwrap()
}

/// Well formed, no network, every id once, every drawing named, every header cell scoped.
fn check_html(html: &str) {
    let document = parsed(html);
    let mut ids = std::collections::BTreeSet::new();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id), "the id `{id}` is used twice");
        }
        for link in ["href", "src"] {
            if let Some(target) = node.attribute(link) {
                assert!(
                    target.starts_with('#') || target.starts_with("data:image/png;base64,"),
                    "`{target}` is outside the page"
                );
            }
        }
        match node.tag_name().name() {
            "svg" => {
                assert_eq!(node.attribute("role"), Some("img"));
                let title = node.first_element_child().unwrap();
                assert_eq!(title.tag_name().name(), "title");
                assert!(
                    !title.text().unwrap_or("").is_empty(),
                    "a drawing without a title"
                );
                assert!(node.attribute("aria-labelledby").is_some());
            }
            "figure" => {
                let caption = node.first_element_child().unwrap();
                assert_eq!(caption.tag_name().name(), "figcaption");
            }
            "th" => assert!(matches!(node.attribute("scope"), Some("col" | "row"))),
            "table" => {
                let caption = node.first_element_child().unwrap();
                assert_eq!(caption.tag_name().name(), "caption");
                let width = |row: roxmltree::Node<'_, '_>| {
                    row.children().filter(roxmltree::Node::is_element).count()
                };
                let mut rows = node.descendants().filter(|node| node.has_tag_name("tr"));
                let head = width(rows.next().unwrap());
                assert!(rows.all(|row| width(row) == head), "a row of another width");
            }
            "script" | "link" | "iframe" => panic!("a page without scripts has a {node:?}"),
            _ => {}
        }
    }
    for node in document.descendants() {
        for list in ["aria-labelledby"] {
            for id in node.attribute(list).unwrap_or("").split_whitespace() {
                assert!(ids.contains(id), "`{id}` names nothing");
            }
        }
        if let Some(target) = node
            .attribute("href")
            .and_then(|target| target.strip_prefix('#'))
        {
            assert!(ids.contains(target), "`#{target}` leads nowhere");
        }
    }
    for forbidden in ["NaN", "inf\"", "http://", "https://"] {
        assert!(!html.contains(forbidden), "the page contains `{forbidden}`");
    }
}

/// Every figure of the Markdown is a file that stands on its own.
fn check_figures(directory: &Path, markdown: &str) {
    for line in markdown.lines().filter(|line| line.starts_with("![")) {
        let path = line.rsplit_once('(').unwrap().1.trim_end_matches(')');
        let svg = fs::read_to_string(directory.join(path)).unwrap();
        let document = parsed(&svg);
        let root = document.root_element();
        assert_eq!(
            root.tag_name().namespace(),
            Some("http://www.w3.org/2000/svg")
        );
        assert!(
            root.first_element_child()
                .unwrap()
                .has_tag_name(("http://www.w3.org/2000/svg", "title"))
        );
        assert!(svg.contains("prefers-color-scheme"), "{path} has no style");
    }
}

/// The text of the numbers in a page's tables, row by row.
fn table_numbers(html: &str) -> Vec<String> {
    let document = parsed(html);
    document
        .descendants()
        .filter(|node| node.has_tag_name("td"))
        .map(|cell| {
            let first = cell.children().next();
            let text = first.and_then(|node| node.descendants().find_map(|node| node.text()));
            text.unwrap_or("").to_owned()
        })
        .filter(|text| text.chars().any(|letter| letter.is_ascii_digit()))
        .collect()
}

#[test]
fn a_whole_report() {
    let (html, markdown, directory) = made(|_, _, _| {});
    for id in [
        "accuracy-curves",
        "loss-curves",
        "per-class",
        "reliability-0",
        "reliability-2",
        "confusion-0",
        "confusion-1",
        "uncertain-0",
        "picture-0",
    ] {
        assert!(
            html.contains(&format!("<figure id=\"{id}\">")),
            "no figure `{id}`"
        );
    }
    assert!(!html.contains("Not drawn"));
    let summary = Sample {
        rows: 400,
        epochs: 6,
        ..Sample::TEN
    }
    .write(directory.path())
    .0;
    let comparison = summary.comparison().unwrap();
    assert!(html.contains(&comparison.verdict()));
    for expected in [
        "272,474",
        "78,042",
        "3.49×",
        "3.11×\u{a0}faster",
        "Hinton, Vinyals and Dean",
        "weights.soft",
    ] {
        assert!(html.contains(expected), "no `{expected}`");
    }
    let alone = summary.arm(Role::Alone).unwrap().accuracy().unwrap();
    assert!(html.contains(&text::percent(alone)));
    assert!(markdown.starts_with("# fashion, first student\n"));
}

#[test]
fn the_twin_has_the_same_numbers() {
    let (html, markdown, _) = made(|_, _, _| {});
    let numbers = table_numbers(&html);
    assert!(numbers.len() > 60, "only {} numbers", numbers.len());
    let mut rest = markdown.as_str();
    for number in numbers {
        let escaped = text::markdown(&number);
        let place = rest.find(&escaped);
        let place = place.unwrap_or_else(|| panic!("`{number}` is missing, or out of order"));
        rest = &rest[place + escaped.len()..];
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let one = made(|_, _, _| {});
    let other = made(|_, _, _| {});
    assert_eq!((&one.0, &one.1), (&other.0, &other.1));
    let figure = |directory: &Path| fs::read(directory.join("figures/confusion-1.svg")).unwrap();
    assert_eq!(figure(one.2.path()), figure(other.2.path()));
}

#[test]
fn text_from_outside_stays_text() {
    let attack = "<script>alert('x')</script>|*a*`b`\n\u{7}\"&";
    let (html, markdown, _) = made(|_, summary, _| {
        summary.name = attack.to_owned();
        summary.data.name = attack.to_owned();
        summary.data.classes[3] = attack.to_owned();
        summary.method.settings = serde_json::json!({ attack: attack });
        summary.arms[2].label = attack.to_owned();
        summary.arms[1].architecture = attack.to_owned();
        summary.warnings = vec![attack.to_owned()];
        summary.commands = vec![attack.to_owned()];
        summary.hashes.insert(attack.to_owned(), attack.to_owned());
    });
    assert!(!html.contains("<script"));
    assert!(html.contains("&lt;script&gt;"));
    // Only in the indented code of the commands may it stand as it is.
    let outside: Vec<&str> = markdown
        .lines()
        .filter(|line| line.contains("<script") && !line.starts_with("    "))
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn what_is_missing_is_named() {
    let (html, markdown, _) = made(|directory, summary, pictures| {
        pictures.clear();
        fs::write(
            directory.join("runs/student-alone-1/log.jsonl"),
            "nonsense\n{}\n",
        )
        .unwrap();
        for arm in &mut summary.arms {
            arm.latency = None;
            for run in &mut arm.runs {
                run.metrics.confusion.clear();
                run.metrics.per_class.clear();
                run.metrics.top5 = None;
                run.metrics.reliability.clear();
            }
        }
    });
    for reason in [
        "Latency was not measured for teacher, student alone, student distilled.",
        "the experiment kept no pictures",
        "row 0 of",
        "no run counted its answers per class",
        "student distilled: its confidences were not counted",
        "no run counted which class is taken for which",
    ] {
        assert!(html.contains(reason), "no `{reason}`");
        assert!(markdown.contains(reason), "no `{reason}` in the Markdown");
    }
    assert!(!html.contains("Latency at") && !html.contains("Top-5"));
    assert!(!html.contains("id=\"per-class\""));
}

#[test]
fn a_given_teacher_is_a_level_and_an_empty_experiment_has_no_verdict() {
    let (html, ..) = made(|_, summary, _| {
        summary.arms[0].runs[0].seed = None;
        summary.arms[0].runs[0].directory = None;
    });
    assert!(html.contains("teacher curve level"));
    assert!(html.contains("given as a checkpoint"));

    let (html, ..) = made(|_, summary, _| summary.arms.clear());
    assert!(html.contains("There is no verdict: the student was not trained alone."));
    assert!(html.contains("no run directory with a log was kept"));
    let (html, ..) = made(|_, summary, _| summary.arms.truncate(2));
    assert!(html.contains("There is no verdict: no student was distilled."));
}

#[test]
fn a_hundred_classes_are_summed_up() {
    let sample = Sample {
        rows: 1000,
        seeds: 2,
        epochs: 4,
        ..Sample::HUNDRED
    };
    let (html, ..) = made_from(sample, |_, _, _| {});
    for id in [
        "class-scatter",
        "lowest-classes",
        "highest-classes",
        "confusion-1",
    ] {
        assert!(
            html.contains(&format!("<figure id=\"{id}\">")),
            "no figure `{id}`"
        );
    }
    assert!(!html.contains("id=\"per-class\""));
    assert!(html.len() < 1_000_000, "the page has {} bytes", html.len());
}

/// Written, read back and written again without the experiment at hand.
#[test]
fn a_report_can_be_made_again() {
    let (html, _, folder) = made(|_, _, _| {});
    let directory = folder.path();
    fs::remove_file(directory.join("report.html")).unwrap();
    let report = rewrite(directory).unwrap();
    assert_eq!(report, directory.join("report.html"));
    assert_eq!(fs::read_to_string(report).unwrap(), html);

    fs::write(directory.join("summary.json"), "{\"name\": 3}").unwrap();
    let error = read(directory).unwrap_err().to_string();
    assert!(
        error.contains("summary.json` is not a valid summary file"),
        "{error}"
    );
    let error = rewrite(&directory.join("nowhere")).unwrap_err().to_string();
    assert!(
        error.contains("nowhere`: there is no `summary.json`"),
        "{error}"
    );
}

#[test]
fn several_experiments_side_by_side() {
    let (.., first) = made(|_, _, _| {});
    let (.., second) = made(|directory, summary, _| {
        summary.device = "cuda:0".to_owned();
        fs::remove_dir_all(directory.join("runs/student-distilled-1")).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let runs = [&first, &second].map(|folder| folder.path().to_owned());
    let page = write_comparison(&runs, folder.path()).unwrap();
    let html = fs::read_to_string(page).unwrap();
    let markdown = fs::read_to_string(folder.path().join("compare.md")).unwrap();
    check_html(&html);
    check_figures(folder.path(), &markdown);
    for expected in [
        "1. fashion, first student",
        "2. fashion, first student",
        "The experiments differ in device",
        "cannot read",
        "<figure id=\"compare-accuracy\">",
    ] {
        assert!(html.contains(expected), "no `{expected}`");
    }
    let error = write_comparison(&[], folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("there is no experiment to compare"),
        "{error}"
    );
}
