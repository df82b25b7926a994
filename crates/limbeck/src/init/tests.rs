#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use limbeck_graph::run::CompiledGraph;
use limbeck_graph::weights::write_safetensors;

use super::*;
use crate::recipe::{Plan, RawRecipe};

fn asked(model: &str) -> Asked<'_> {
    Asked { model, arch: None }
}

fn checkpoint(path: &Path, arch: &str, network: &CompiledGraph) {
    let metadata = [
        ("arch".to_owned(), arch.to_owned()),
        ("input".to_owned(), "1x8x8".to_owned()),
        ("classes".to_owned(), "10".to_owned()),
    ];
    write_safetensors(path, &network.weights(), &metadata.into()).unwrap();
}

fn planned(text: &str, folder: &Path) -> Plan {
    let raw = RawRecipe::parse(text, folder).unwrap();
    Plan::check(&raw, "x").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn untrained_weights_are_told_and_the_recipe_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.safetensors");
    let network = zoo::build("mlp-12", [1, 8, 8], 10).unwrap();
    let network = network.compile(Seed::new(1), &Device::default()).unwrap();
    checkpoint(&path, "mlp-12", &network);
    let request = Request {
        teacher: asked("mlp-32"),
        student: asked(path.to_str().unwrap()),
        data: "digits",
    };
    let proposal = Proposal::of(&request).unwrap();
    assert!(proposal.fresh && proposal.teacher.measured.is_empty());
    assert_eq!(proposal.student.measured.len(), 4);
    let text = proposal.to_toml(folder.path());
    assert!(text.contains("weights = \"student.safetensors\""), "{text}");
    assert!(text.contains("init = \"fresh\""), "{text}");
    let plan = planned(&text, folder.path());
    assert_eq!(plan.seeds.len(), 3);
    assert!(plan.baseline);
    assert_eq!(plan.student.init, crate::recipe::Init::Fresh);
}

#[test]
fn the_normalisation_that_a_model_knows_is_found() {
    // Adds up the pixels of the upper and of the lower half, and says which is darker: right for what it is given only where
    // black is 0, since the bias is for these.
    let set = crate::data::open("digits", Split::Train).unwrap();
    let own = crate::data::Normalization::fit(set.as_ref()).unwrap();
    let candidates = normalization::candidates(&own, 1);
    assert_eq!(candidates.len(), 4);
    let rows = measured_rows(&set).unwrap();
    assert_eq!(rows.len(), MEASURED_ROWS);
    let opened = Opened::zoo("mlp-16", [1, 8, 8], 10, Seed::new(1)).unwrap();
    let measured = measure(&opened, &rows, &candidates, &Device::default()).unwrap();
    assert_eq!(measured.len(), 4);
    for pair in measured.windows(2) {
        assert!(pair[0].accuracy >= pair[1].accuracy, "{measured:?}");
    }
}

#[test]
fn models_for_other_classes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seven.safetensors");
    let graph = zoo::build("mlp-12", [1, 8, 8], 7).unwrap();
    let network = graph.compile(Seed::new(1), &Device::default()).unwrap();
    let metadata = [
        ("arch".to_owned(), "mlp-12".to_owned()),
        ("classes".to_owned(), "7".to_owned()),
        ("input".to_owned(), "1x8x8".to_owned()),
    ];
    write_safetensors(&path, &network.weights(), &metadata.into()).unwrap();
    let request = Request {
        teacher: asked(path.to_str().unwrap()),
        student: asked("mlp-8"),
        data: "digits",
    };
    let message = Proposal::of(&request).unwrap_err().to_string();
    assert!(
        message.contains("has 7 classes and the data has 10"),
        "{message}"
    );
}

#[test]
fn chance_is_the_largest_class_with_room_for_luck() {
    assert_eq!(near_chance(0.1, 0), near_chance(0.1, 1));
    let above = near_chance(0.1, 512) - 0.1;
    assert!((above - 4.0 * (0.09_f64 / 512.0).sqrt()).abs() < 1e-12);
    let set = crate::data::open("digits", Split::Train).unwrap();
    let share = chance(measured_rows(&set).unwrap().as_ref());
    assert!((0.1..0.12).contains(&share), "{share}");
}

#[test]
fn names_of_runs_are_names_of_folders() {
    assert_eq!(recipe::name("my net", "a/b"), "my-net-from-a-b");
    assert_eq!(recipe::name(".x", "y"), "run-x-from-y");
}
