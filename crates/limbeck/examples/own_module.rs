//! `cargo run -p limbeck --example own_module` takes about 4 seconds on two cores once it is built, also without `--release`,
//! and must end with a mean test accuracy of at least 0.92 for the distilled student, above the student alone (measured:
//! 0.945 and 0.915 over three seeds); otherwise it fails.
//!
//! Your own Burn modules as teacher and student. Everything of Limbeck that trains, teaches or measures asks for one trait,
//! [`Network`]: a forward pass from named inputs to an output and the features that were asked for by name.
//!
//! The teacher is a small convolutional network trained on all 1,297 training images of the embedded digits. The student is
//! an MLP with one hidden layer that gets only 100 of them: once their labels alone, once the teacher's softened answers
//! beside the labels (Hinton et al. 2015, section 6, "soft targets as regularizers").

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation::relu};
use limbeck::data::{
    Dataset, Loader, LoaderSettings, Normalization, Split, digits, labels_per_class,
};
use limbeck::eval::{self, Metrics};
use limbeck::graph::{Feature, Inputs, Network, Taps, Trace};
use limbeck::loss::Temperature;
use limbeck::method::{MethodSettings, SoftTargetSettings};
use limbeck::teacher::{Frozen, Teacher};
use limbeck::train::{OptimizerSettings, RunDirectory, Schedule, TrainSettings, Trainer};
use limbeck::{Error, Result, Seed};
use serde_json::json;

/// The teacher: convolution, batch norm, ReLU, pooling, two linear layers.
#[derive(Module, Debug)]
struct ConvNet {
    conv: Conv2d,
    norm: BatchNorm,
    pool: MaxPool2d,
    hidden: Linear,
    head: Linear,
}

impl ConvNet {
    fn new(device: &Device) -> Self {
        let same = PaddingConfig2d::Explicit(1, 1, 1, 1);
        Self {
            conv: Conv2dConfig::new([1, 32], [3, 3])
                .with_padding(same)
                .init(device),
            norm: BatchNormConfig::new(32).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            hidden: LinearConfig::new(32 * 4 * 4, 128).init(device),
            head: LinearConfig::new(128, 10).init(device),
        }
    }
}

impl Network for ConvNet {
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> limbeck::graph::Result<Trace> {
        let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
        let conv = relu(self.norm.forward(self.conv.forward(images))); // [batch, 32, 8, 8]
        let pooled: Tensor<2> = self.pool.forward(conv.clone()).flatten(1, 3); // [batch, 512]
        let hidden = relu(self.hidden.forward(pooled)); // [batch, 128]
        let output = self.head.forward(hidden.clone()); // [batch, 10]
        let features = record(taps, [("conv", conv.into()), ("hidden", hidden.into())])?;
        Ok(Trace {
            output: output.into(),
            features,
        })
    }

    fn tap_names(&self) -> Vec<String> {
        vec!["conv".to_owned(), "hidden".to_owned()]
    }
}

/// The student: one hidden layer.
#[derive(Module, Debug)]
struct Mlp {
    hidden: Linear,
    head: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(64, 64).init(device),
            head: LinearConfig::new(64, 10).init(device),
        }
    }
}

impl Network for Mlp {
    fn forward(&self, inputs: &Inputs, taps: &Taps) -> limbeck::graph::Result<Trace> {
        let images: Tensor<4> = inputs.get_float(Inputs::DEFAULT)?.clone().try_into()?;
        let hidden = relu(self.hidden.forward(images.flatten::<2>(1, 3))); // [batch, 64]
        let output = self.head.forward(hidden.clone()); // [batch, 10]
        let features = record(taps, [("hidden", hidden.into())])?;
        Ok(Trace {
            output: output.into(),
            features,
        })
    }

    fn tap_names(&self) -> Vec<String> {
        vec!["hidden".to_owned()]
    }
}

/// The features that were asked for; an unknown name is an error with the nearest known one.
fn record<const N: usize>(
    taps: &Taps,
    known: [(&str, Feature); N],
) -> limbeck::graph::Result<BTreeMap<String, Feature>> {
    let known = BTreeMap::from(known.map(|(name, feature)| (name.to_owned(), feature)));
    taps.names()
        .iter()
        .map(|name| match known.get(name) {
            Some(feature) => Ok((name.clone(), feature.clone())),
            None => Err(limbeck::graph::Error::Unknown {
                kind: "tap",
                name: name.clone(),
                nearest: known.keys().cloned().collect(),
            }),
        })
        .collect()
}

/// Adam for a number of epochs, in a run directory of its own: log, TensorBoard events, checkpoints, `student.safetensors`.
fn train<N: Network>(
    student: N,
    teacher: Option<&dyn Teacher>,
    method: MethodSettings,
    (loader, epochs): (&Loader, u64),
    seed: Seed,
    folder: &Path,
) -> Result<N> {
    let settings = TrainSettings {
        epochs,
        optimizer: OptimizerSettings::Adam {
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay_norms_and_biases: true,
        },
        learning_rate: 2e-3,
        schedule: Schedule::Constant,
        checkpoint_every: Some(1000),
        ..TrainSettings::default()
    };
    let outcome = Trainer {
        student,
        teacher,
        method: &mut *method.build(),
        train: loader,
        unaugmented: None,
        validation: None,
        test: None,
        settings: &settings,
        seed,
        device: Device::default(),
        run: &RunDirectory::create(folder, "", &json!({ "example": "own_module" }))?,
        metadata: BTreeMap::new(),
        interrupt: Arc::default(),
        progress: &mut (),
    }
    .run()?;
    Ok(outcome.student)
}

fn loader(set: &Arc<dyn Dataset>, batch: usize, seed: u64) -> Result<Loader> {
    let settings = LoaderSettings {
        batch,
        seed: Seed::new(seed),
        normalization: Normalization::from_values(&[0.5, 0.5])?,
        shuffle: true,
        ..LoaderSettings::default()
    };
    Loader::new(Arc::clone(set), settings)
}

fn main() -> Result<()> {
    let device = Device::default();
    let runs = tempfile::tempdir().map_err(|source| Error::write(Path::new("runs"), source))?;
    let all = digits::open(Split::Train)?;
    let test = digits::open(Split::Test)?;
    let measure = |network: &dyn Fn(&Loader) -> Result<eval::Predictions>| -> Result<Metrics> {
        network(&loader(&test, test.len(), 0)?)?.metrics()
    };

    device.seed(1);
    let labels = MethodSettings::LABELS;
    let network = train(
        ConvNet::new(&device),
        None,
        labels,
        (&loader(&all, 64, 1)?, 15),
        Seed::new(1),
        &runs.path().join("teacher"),
    )?;
    let teacher = Frozen::new(&network, &device);
    let quality = measure(&|rows| eval::predict(&network, rows.epoch(0, 0), &device))?;
    println!(
        "teacher, {} images: accuracy {:.4}",
        all.len(),
        quality.top1
    );

    let soft = MethodSettings::SoftTargets(SoftTargetSettings {
        temperature: Temperature::new(4.0)?,
        ..SoftTargetSettings::default()
    });
    let (mut sum_alone, mut sum_distilled) = (0.0, 0.0);
    for seed in 1..=3 {
        let few: Arc<dyn Dataset> =
            Arc::new(labels_per_class(&all, 10, Seed::new(seed), "few labels")?);
        let schedule = (&loader(&few, 20, seed)?, 100);
        device.seed(seed);
        let start = Mlp::new(&device);
        let student = |name: &str, teacher: Option<&dyn Teacher>, method| {
            let folder = runs.path().join(format!("{name}-seed-{seed}"));
            train(
                start.clone(),
                teacher,
                method,
                schedule,
                Seed::new(seed),
                &folder,
            )
        };
        let alone = student("alone", None, labels)?;
        let distilled = student("distilled", Some(&teacher), soft)?;
        let alone = measure(&|rows| eval::predict(&alone, rows.epoch(0, 0), &device))?;
        let distilled = measure(&|rows| eval::predict(&distilled, rows.epoch(0, 0), &device))?;
        println!(
            "seed {seed}, {} images: alone {:.4}, distilled {:.4}",
            few.len(),
            alone.top1,
            distilled.top1
        );
        sum_alone += alone.top1 / 3.0;
        sum_distilled += distilled.top1 / 3.0;
    }
    println!("mean of three seeds: alone {sum_alone:.4}, distilled {sum_distilled:.4}");
    if sum_distilled <= sum_alone || sum_distilled < 0.92 {
        return Err(Error::Check(
            "the distilled student must beat the student alone and reach 0.92".to_owned(),
        ));
    }
    Ok(())
}
