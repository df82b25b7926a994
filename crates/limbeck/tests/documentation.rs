//! The documentation says what the program does: its recipes are valid, the recipe reference lists the program's keys and
//! defaults and nothing else, the table of dependencies is that of the manifests, and links lead somewhere.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use limbeck::error::Problem;
use limbeck::recipe::{Plan, RawRecipe};
use limbeck::{Error, method};
use toml::{Table, Value};

/// What the tables that a piece of a recipe leaves out are taken from.
const BASE: &str = "
    [data]
    path = 'digits'
    [teacher]
    arch = 'mlp-8'
    [student]
    arch = 'mlp-4'
";

/// A key that no table has, and that is near to none.
const STRANGE: &str = "qqqqqqqqqqqqqqqq";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files_in(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files_in("docs", "md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    pages
}

/// A fenced block of a page.
struct Block {
    /// The page and the line of its first fence.
    place: String,
    /// What stands behind the fence.
    info: String,
    text: String,
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                blocks.push(Block {
                    place: format!("{}:{number}", page.display()),
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            None if open => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "{} ends inside a block", page.display());
    blocks
}

/// Checks a recipe in a folder where every file of weights that it names exists.
fn check(table: Table) -> Result<Plan, Vec<Problem>> {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("a/b/c/d");
    fs::create_dir_all(&folder).unwrap();
    make_weights(&Value::Table(table.clone()), &folder);
    let raw = RawRecipe {
        text: String::new(),
        folder,
        table,
    };
    Plan::check(&raw, "documentation").map_err(|error| match error {
        Error::Recipe { problems } => problems,
        other => panic!("{other}"),
    })
}

fn make_weights(value: &Value, folder: &Path) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                match (key.as_str(), value) {
                    ("weights", Value::String(path)) => make_file(&folder.join(path)),
                    ("weights", Value::Array(paths)) => {
                        for path in paths {
                            make_file(&folder.join(path.as_str().unwrap()));
                        }
                    }
                    _ => make_weights(value, folder),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                make_weights(value, folder);
            }
        }
        _ => {}
    }
}

fn make_file(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, []).unwrap();
}

fn table(text: &str) -> Table {
    text.parse()
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn based(text: &str) -> Table {
    let mut recipe = table(BASE);
    recipe.extend(table(text));
    recipe
}

#[test]
fn recipes_in_the_documentation_are_valid() {
    let mut complete = 0;
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let recipe = match block.info.as_str() {
            "toml,recipe" => {
                complete += 1;
                table(&block.text)
            }
            "toml" => based(&block.text),
            _ => continue,
        };
        if let Err(problems) = check(recipe) {
            panic!("{}: {problems:?}", block.place);
        }
    }
    assert!(complete >= 3, "found only {complete} complete recipes");
}

#[test]
fn the_recipes_that_come_along_are_valid() {
    for path in files_in("recipes", "toml") {
        let text = fs::read_to_string(&path).unwrap();
        if let Err(problems) = check(table(&text)) {
            panic!("{}: {problems:?}", path.display());
        }
    }
}

/// One row of a table of keys.
struct Row {
    key: String,
    default: String,
}

/// The tables of keys in the recipe reference, by heading.
fn reference() -> BTreeMap<String, Vec<Row>> {
    let text = fs::read_to_string(root().join("docs/recipe-reference.md")).unwrap();
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut heading, mut in_table) = (String::new(), false);
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().replace('`', "");
        }
        if line == "| key | type | default | meaning |" {
            in_table = true;
            let earlier = tables.insert(heading.clone(), Vec::new());
            assert!(earlier.is_none(), "two tables below `{heading}`");
        } else if !line.starts_with('|') {
            in_table = false;
        } else if in_table && !line.starts_with("|---") {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, key, _, default, _, _] = cells[..] else {
                panic!("{line}");
            };
            tables.get_mut(&heading).unwrap().push(Row {
                key: key.trim_matches('`').to_owned(),
                default: default.to_owned(),
            });
        }
    }
    tables
}

/// A table of a recipe, in a recipe where it is read.
struct Place {
    /// The headings whose tables list its keys together.
    headings: Vec<String>,
    recipe: Table,
    path: &'static [&'static str],
}

impl Place {
    fn new(heading: &str, recipe: &str, path: &'static [&'static str]) -> Self {
        Self {
            headings: vec![heading.to_owned()],
            recipe: based(recipe),
            path,
        }
    }

    /// The recipe with one more key in this table.
    fn with(&self, key: &str, value: Value) -> Table {
        let mut recipe = self.recipe.clone();
        let mut table = &mut recipe;
        for step in self.path {
            let entry = table
                .entry(*step)
                .or_insert_with(|| Value::Table(Table::new()));
            table = match entry {
                Value::Array(tables) => tables[0].as_table_mut().unwrap(),
                other => other.as_table_mut().unwrap(),
            };
        }
        table.insert(key.to_owned(), value);
        recipe
    }

    /// The names that an error lists for a value or key that does not exist, after `words`.
    fn offered(&self, key: &str, value: Value, words: &str) -> BTreeSet<String> {
        let problems = check(self.with(key, value)).expect_err("the key or value is made up");
        let problem = problems
            .iter()
            .find(|problem| problem.key.ends_with(key))
            .unwrap_or_else(|| panic!("{problems:?}"));
        let (_, list) = problem
            .reason
            .split_once(words)
            .unwrap_or_else(|| panic!("{problem}"));
        let list = list.split_once(", got").map_or(list, |(list, _)| list);
        list.split(", ")
            .map(|name| name.trim_matches('`').to_owned())
            .collect()
    }

    fn known_keys(&self) -> BTreeSet<String> {
        self.offered(STRANGE, Value::Boolean(true), "known keys: ")
    }
}

/// Every table that a recipe can have.
fn places() -> Vec<Place> {
    const CHANGES: [(&str, &[&str]); 6] = [
        ("[data.crop]", &["data", "crop"]),
        ("[data.flip]", &["data", "flip"]),
        ("[data.rotate]", &["data", "rotate"]),
        ("[data.shift]", &["data", "shift"]),
        ("[data.color]", &["data", "color"]),
        ("[data.erase]", &["data", "erase"]),
    ];
    let mut places = vec![
        Place::new("Root", "", &[]),
        Place::new("[data]", "", &["data"]),
        Place::new("[teacher]", "", &["teacher"]),
        Place::new(
            "[[teacher.member]]",
            "[[teacher.member]]\narch = 'mlp-8'",
            &["teacher", "member"],
        ),
        Place::new("[student]", "", &["student"]),
    ];
    for (heading, path) in CHANGES {
        let name = path[1];
        let recipe = format!("[data]\npath = 'digits'\naugment = ['{name}']");
        places.push(Place::new(heading, &recipe, path));
    }
    for info in method::methods() {
        let mut place = Place::new(
            "[method]",
            &format!("[method]\nname = '{}'", info.name),
            &["method"],
        );
        place.headings.push(info.name.to_owned());
        places.push(place);
    }
    let train = Place::new("[train]", "", &["train"]);
    let choices = |key| train.offered(key, Value::String(STRANGE.to_owned()), "one of ");
    for optimizer in choices("optimizer") {
        for schedule in choices("schedule") {
            let recipe = format!("[train]\noptimizer = '{optimizer}'\nschedule = '{schedule}'");
            let mut place = Place::new("[train]", &recipe, &["train"]);
            place.headings.extend([optimizer.clone(), schedule]);
            places.push(place);
        }
    }
    places
}

#[test]
fn the_reference_lists_every_key_and_no_other() {
    let reference = reference();
    let mut covered = BTreeSet::new();
    for place in places() {
        let documented: BTreeSet<String> = place
            .headings
            .iter()
            .flat_map(|heading| {
                covered.insert(heading.clone());
                reference
                    .get(heading)
                    .unwrap_or_else(|| panic!("the reference has no table below `{heading}`"))
            })
            .map(|row| row.key.clone())
            .collect();
        assert_eq!(documented, place.known_keys(), "{:?}", place.headings);
    }
    let tables: BTreeSet<String> = reference.keys().cloned().collect();
    assert_eq!(tables, covered);
}

#[test]
fn defaults_in_the_reference_are_the_programs() {
    let reference = reference();
    let plan_of = |recipe: Table| {
        let plan = check(recipe).unwrap_or_else(|problems| panic!("{problems:?}"));
        serde_json::to_value(&plan).unwrap()
    };
    let mut compared = BTreeSet::new();
    for place in places() {
        let bare = plan_of(place.recipe.clone());
        for (heading, row) in place
            .headings
            .iter()
            .flat_map(|heading| reference[heading].iter().map(move |row| (heading, row)))
        {
            let literal = row.default.strip_prefix('`');
            let Some(literal) = literal.and_then(|text| text.strip_suffix('`')) else {
                continue;
            };
            // What the place itself chooses is not left out in it.
            if place.headings.len() == 3 && ["optimizer", "schedule"].contains(&row.key.as_str()) {
                continue;
            }
            let value = table(&format!("value = {literal}"))["value"].clone();
            assert_eq!(
                plan_of(place.with(&row.key, value)),
                bare,
                "`{}` below `{heading}`: {literal}",
                row.key
            );
            compared.insert((heading.clone(), row.key.clone()));
        }
    }
    assert!(compared.len() > 30, "{compared:?}");
}

#[test]
fn the_table_of_dependencies_is_that_of_the_manifests() {
    let crates = ["limbeck-kernels", "limbeck-graph", "limbeck", "limbeck-cli"];
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in crates {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        let manifest = table(&fs::read_to_string(manifest).unwrap());
        let names = |section: &str| -> BTreeSet<String> {
            let names = manifest[section].as_table().unwrap().keys();
            let foreign = names.filter(|name| !name.starts_with("limbeck"));
            foreign.cloned().collect()
        };
        let (normal, tests) = (names("dependencies"), names("dev-dependencies"));
        for dependency in normal.union(&tests) {
            let user = match normal.contains(dependency) {
                true => name.to_owned(),
                false => format!("{name} (tests)"),
            };
            expected.entry(dependency.clone()).or_default().push(user);
        }
    }
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, after) = page.split_once("| crate | job | used by |").unwrap();
    let mut documented = BTreeMap::new();
    for line in after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let users = match cells[3] {
            "all" => crates.map(str::to_owned).to_vec(),
            list => list.split(", ").map(str::to_owned).collect(),
        };
        documented.insert(cells[1].trim_matches('`').to_owned(), users);
    }
    assert_eq!(documented, expected);
}

/// The name by which mdBook and GitHub link to a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The lines of a page outside its blocks.
fn prose(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let mut open = false;
    text.lines()
        .filter(|line| {
            let fence = line.starts_with("```");
            open ^= fence;
            !open && !fence
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for page in pages() {
        for line in prose(&page) {
            for link in line.split("](").skip(1) {
                let target = link.split(')').next().unwrap();
                if target.starts_with("https://") {
                    continue;
                }
                let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() {
                    page.clone()
                } else {
                    page.parent().unwrap().join(file)
                };
                let place = page.display();
                assert!(file.exists(), "{place}: {target}");
                if !fragment.is_empty() {
                    let found = prose(&file).iter().any(|line| {
                        line.starts_with('#') && anchor(line.trim_start_matches('#')) == fragment
                    });
                    assert!(found, "{place}: {target}");
                }
                followed += 1;
            }
        }
    }
    assert!(followed > 20, "{followed}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in files_in("docs", "md") {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "{name}"
        );
    }
}
