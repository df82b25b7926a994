#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use limbeck_graph::zoo;

use super::*;
use crate::data::Normalization;
use crate::recipe::{MemberPlan, ModelPlan};
use crate::teacher::EnsembleMean;
use crate::train::OptimizerSettings;

const SMALLEST: &str = "[data]\npath = 'digits'\n[student]\narch = 'mlp-8'\n";

fn check(text: &str) -> Result<Plan> {
    check_in(text, Path::new("recipes"))
}

fn check_in(text: &str, folder: &Path) -> Result<Plan> {
    Plan::check(&RawRecipe::parse(text, folder).unwrap(), "given")
}

fn problems(text: &str) -> Vec<String> {
    match check(text).unwrap_err() {
        Error::Recipe { problems } => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected mistakes, got {other}"),
    }
}

/// A recipe that distils, with more keys in some tables.
fn distilled(root: &str, teacher: &str, train: &str) -> String {
    format!(
        "{root}\n[data]\npath = 'digits'\n[student]\narch = 'mlp-8'\n[method]\nname = 'soft-targets'\n\
         [train]\n{train}\n[teacher]\n{teacher}\n"
    )
}

#[test]
fn two_tables_are_a_recipe() {
    let plan = check(SMALLEST).unwrap();
    assert_eq!(plan.name, "given");
    assert_eq!(plan.seeds, [Seed::new(1)]);
    assert_eq!(plan.device, DeviceChoice::CPU);
    assert_eq!(plan.data, DataSettings::default());
    assert_eq!(plan.train, TrainSettings::default());
    assert_eq!(plan.method, MethodSettings::LABELS);
    assert_eq!(plan.student, StudentPlan::zoo("mlp-8"));
    assert!(!plan.baseline && plan.teacher.is_none());
    assert_eq!(plan.folder, Path::new("recipes"));
    assert_eq!(plan.text, SMALLEST);
}

#[test]
fn a_teacher_without_weights_is_trained_as_the_student_is() {
    let plan = check(&distilled("", "arch = 'mlp-32'", "epochs = 7\nbatch = 16")).unwrap();
    assert!(plan.baseline);
    let teacher = plan.teacher.unwrap();
    assert_eq!(teacher.data, plan.data);
    assert_eq!(teacher.train, plan.train);
    assert_eq!((teacher.train.epochs, teacher.train.batch), (7, 16));
    assert_eq!(
        (teacher.mean, teacher.minimum_accuracy),
        (EnsembleMean::Arithmetic, 0.0)
    );
    let member = MemberPlan {
        model: ModelPlan::zoo("mlp-32"),
        normalization: None,
        seed: Seed::new(0),
    };
    assert_eq!(teacher.members, [member]);
}

#[test]
fn the_teachers_own_tables_lie_over_the_students() {
    let plan = check(&distilled(
        "",
        "arch = 'mlp-32'\n[teacher.train]\noptimizer = 'adam'\nepochs = 50\n\
         [teacher.data]\naugment = ['shift']\nlimit = 200",
        "optimizer = 'sgd'\nmomentum = 0.8\nepochs = 7\nbatch = 16",
    ))
    .unwrap();
    let teacher = plan.teacher.unwrap();
    assert_eq!((plan.train.epochs, teacher.train.epochs), (7, 50));
    assert_eq!(teacher.train.batch, 16);
    // The student's `momentum` has no meaning for Adam, and is no mistake.
    assert!(matches!(
        teacher.train.optimizer,
        OptimizerSettings::Adam { .. }
    ));
    assert!(plan.data.augment != teacher.data.augment && plan.data.limit.is_none());
    assert_eq!(teacher.data.path.as_deref(), Some("digits"));
    assert_eq!(teacher.data.limit, Some(crate::data::HeldOut::Rows(200)));
}

#[test]
fn the_teachers_data_may_be_in_another_place_than_the_students() {
    let text = distilled(
        "",
        "arch = 'mlp-32'\n[teacher.data]\ntrain = 'more'",
        "epochs = 2",
    );
    let teacher = check(&text).unwrap().teacher.unwrap();
    assert_eq!(
        (teacher.data.path, teacher.data.train.as_deref()),
        (None, Some("more"))
    );
}

#[test]
fn every_mistake_of_every_table_is_named_once() {
    let text = "
        name = 'a/b'
        seeds = [1, 1]
        device = 'gpu'
        tempo = 3
        [data]
        path = 'digits'
        limt = 5
        [student]
        arch = 'mlp_8'
        [method]
        name = 'soft-targets'
        temperature = 0
        [train]
        epochs = 0
        [teacher]
        arch = 'resnet-2O'
        mean = 'geometrical'
        minimum_accuracy = 75
        memebrs = 2
        normalize = [0.5]
        [teacher.train]
        epochs = 50
    ";
    let found = problems(text);
    let expected = [
        "recipe key `name`: expected letters, digits, `-`, `_` and `.`, because it names a folder, got `a/b`",
        "recipe key `seeds`: expected different seeds; the same seed gives the same student",
        "recipe key `device`: there is no device `gpu`",
        "recipe key `data.limt`: is not a known key; did you mean `limit`?",
        "recipe key `train.epochs`: expected at least 1, got 0",
        "recipe key `method.temperature`: expected a positive number, got `0`",
        "recipe key `student.arch`: there is no model `mlp_8`",
        "recipe key `teacher.mean`: expected one of `arithmetic`, `geometric`, got `geometrical`; did you mean",
        "recipe key `teacher.minimum_accuracy`: expected a share from 0 to 1, got 75",
        "recipe key `teacher.arch`: there is no model `resnet-2O`; did you mean",
        "recipe key `teacher.normalize`: ",
        "recipe key `teacher.memebrs`: is not a known key; did you mean",
        "recipe key `tempo`: is not a known key",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_mistake_in_the_students_tables_does_not_hide_the_teachers() {
    let found = problems(&distilled(
        "",
        "arch = 'mlp-32'\nseed = -1\n[teacher.train]\nepochs = 5",
        "epochs = 'many'",
    ));
    assert_eq!(
        found,
        [
            "recipe key `train.epochs`: expected a whole number of at least 0, got `\"many\"`",
            "recipe key `teacher.seed`: expected a whole number of at least 0, got `-1`",
        ]
    );
}

#[test]
fn missing_tables_are_named_with_an_example() {
    let found = problems("[method]\nname = 'soft-targets'");
    assert_eq!(
        found,
        [
            "recipe key `data`: is missing; expected a table such as `[data]` with `path = \"digits\"`",
            "recipe key `student`: is missing; expected a table with `arch = \"resnet-8\"` or another model",
            "recipe key `teacher`: is missing; the method needs one, expected a table with `arch` and `weights`",
        ]
    );
    assert_eq!(
        problems("data = 3\nstudent = 'mlp-8'\nmethod = 'labels'\ntrain = 1\nteacher = 2"),
        [
            "recipe key `data`: expected a table, got `3`",
            "recipe key `train`: expected a table, got `1`",
            "recipe key `method`: expected a table, got `\"labels\"`",
            "recipe key `student`: expected a table, got `\"mlp-8\"`",
            "recipe key `teacher`: expected a table, got `2`",
        ]
    );
}

#[test]
fn labels_are_their_own_baseline_and_need_no_teacher() {
    let plan = check(&format!("{SMALLEST}[teacher]\narch = 'mlp-32'")).unwrap();
    assert!(plan.teacher.is_none());
    let found = problems(&format!("baseline = true\n{SMALLEST}"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("recipe key `baseline`: is for methods with a teacher"),
        "{found:?}"
    );
}

#[test]
fn an_ensemble_has_a_seed_per_member() {
    let text = distilled(
        "",
        "arch = 'mlp-32'\nmembers = 3\nseed = 7\nmean = 'geometric'",
        "",
    );
    let teacher = check(&text).unwrap().teacher.unwrap();
    let seeds: Vec<u64> = teacher.members.iter().map(|m| m.seed.value()).collect();
    assert_eq!(seeds, [7, 8, 9]);
    assert_eq!(teacher.mean, EnsembleMean::Geometric);
    for count in ["0", "1001", "9223372036854775807"] {
        let text = distilled("", &format!("arch = 'mlp-32'\nmembers = {count}"), "");
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("recipe key `teacher.members`: expected at "));
    }
}

#[test]
fn weights_are_files_beside_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.pth", "b.pth"] {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    let text = distilled("", "arch = 'mlp-32'\nweights = ['a.pth', 'b.pth']", "");
    let teacher = check_in(&text, folder.path()).unwrap().teacher.unwrap();
    let files: Vec<_> = teacher.members.iter().map(|m| &m.model.weights).collect();
    let at = |name: &str| Some(folder.path().join(name));
    assert_eq!(files, [&at("a.pth"), &at("b.pth")]);

    let missing = distilled(
        "",
        "arch = 'mlp-32'\nweights = ['a.pth', 'c.pth']\nmembers = 3",
        "",
    );
    let Err(Error::Recipe { problems }) = check_in(&missing, folder.path()) else {
        panic!("expected mistakes");
    };
    assert_eq!(
        problems[0].reason,
        "expected one per file in `weights`, 2, got 3"
    );
    assert!(
        problems[1].reason.contains("c.pth`") && problems[1].reason.starts_with("there is no file"),
        "{}",
        problems[1]
    );
}

#[test]
fn member_tables_have_their_own_networks() {
    let text = distilled(
        "",
        "arch = 'mlp-32'\n[[teacher.member]]\nnormalize = [0.5, 0.25]\n[[teacher.member]]\narch = 'lenet5'",
        "",
    );
    let members = check(&text).unwrap().teacher.unwrap().members;
    let archs: Vec<String> = members.iter().map(|m| m.model.name()).collect();
    assert_eq!(archs, ["mlp-32", "lenet5"]);
    assert_eq!(
        members[0].normalization,
        Some(Normalization::from_values(&[0.5, 0.25]).unwrap())
    );
    assert_eq!(members[1].normalization, None);
    assert_eq!((members[0].seed.value(), members[1].seed.value()), (0, 1));

    let found = problems(&distilled(
        "",
        "members = 2\nfoo = 1\n[[teacher.member]]\narch = 'mlp-32'\nwieghts = 'x'\n[[teacher.member]]",
        "",
    ));
    assert_eq!(
        found,
        [
            "recipe key `teacher.members`: belongs into the `[[teacher.member]]` tables, where there are any",
            "recipe key `teacher.member[0].wieghts`: is not a known key; did you mean `weights`?",
            "recipe key `teacher.member[1].arch`: is missing; expected text in quotes",
            "recipe key `teacher.foo`: is not a known key; known keys: `arch`, `data`, `mean`, `member`, `members`, \
             `minimum_accuracy`, `precision`, `seed`, `train`",
        ]
    );
}

#[test]
fn names_of_networks_are_judged_before_the_data_is_opened() {
    let found = problems("[data]\npath = 'digits'\n[student]\narch = 'resnet-21'");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("recipe key `student.arch`: "),
        "{found:?}"
    );
    for family in zoo::models() {
        assert!(family.smallest <= 64, "{}", family.pattern);
    }
}

#[test]
fn what_a_student_trains_is_chosen_by_name() {
    let text = |keys: &str| format!("{SMALLEST}weights = 'a.pth'\n{keys}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.pth"), b"").unwrap();
    let plan = check_in(
        &text("train = ['*.weight']\nfreeze = ['fc1.*']\ninit = 'fresh'\nbatch_norm = 'frozen'"),
        folder.path(),
    );
    let student = plan.unwrap().student;
    assert_eq!(student.selection.train, Some(vec!["*.weight".to_owned()]));
    assert_eq!(student.init, crate::recipe::Init::Fresh);
    assert_eq!(student.batch_norm, crate::model::BatchNormMode::Frozen);
    let plan = check_in(&text(""), folder.path()).unwrap();
    assert_eq!(plan.student.init, crate::recipe::Init::File);

    let found = problems(&format!(
        "{SMALLEST}train = ['fc9.*']\nfreeze = ['zzz']\nbatch_norm = 'off'"
    ));
    let keys: Vec<&str> = found
        .iter()
        .filter_map(|problem| problem.split('`').nth(1))
        .collect();
    assert_eq!(
        keys,
        ["student.batch_norm", "student.train", "student.freeze"]
    );
    assert_eq!(
        problems(&format!("{SMALLEST}init = 'file'")),
        [
            "recipe key `student.init`: expected `fresh`, since a network of the zoo has no weights of its own, got `file`; name a \
             checkpoint in `weights`"
        ]
    );
}

#[test]
fn a_network_has_one_origin() {
    let found = problems("[data]\npath = 'digits'\n[student]\narch = 'mlp-8'\nmodel = 'x.onnx'");
    assert_eq!(
        found,
        ["recipe key `student.model`: give either `arch` or `model`, not both"]
    );
    let found = problems("[data]\npath = 'digits'\n[student]\nmodel = 'x.onnx'");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("recipe key `student.model`: there is no file `"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.onnx"), b"text").unwrap();
    let text = "[data]\npath = 'digits'\n[student]\nmodel = 'x.onnx'";
    let message = check_in(text, folder.path()).unwrap_err().to_string();
    assert!(
        message.starts_with("recipe key `student.model`: cannot use `"),
        "{message}"
    );
}
