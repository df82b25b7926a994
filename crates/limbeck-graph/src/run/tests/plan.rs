//! The plan: which nodes run channels last, and what is freed when.

use burn::module::Module;
use burn::tensor::Device;

use super::graph_of;
use crate::Seed;
use crate::ir::{Conv2d, Graph, Linear};
use crate::run::{ImageLayout, Plan};

fn mixed() -> Graph {
    graph_of(&[&[1, 3, 8, 8]], |b, v| {
        let scaled = b.scale_shift("scaled", v[0], 2.0, 0.0);
        let x = b.conv2d("conv", scaled, Conv2d::new(3, 4, 3).padding(1));
        let y = b.relu("relu", x);
        let z = b.add("sum", x, y);
        let parts = b.split("cut", z, 1, [2, 2]);
        let z = b.concatenate("joined", &parts, 1);
        let tokens = b.reshape("tokens", z, &[4, 64]);
        let tokens = b.linear("mix", tokens, Linear::new(64, 64));
        let image = b.reshape("image", tokens, &[4, 8, 8]);
        let image = b.softmax("softmax", image, 1);
        let image = b.relu("plain", image);
        let image = b.global_avg_pool("pool", image);
        b.flatten("flat", image)
    })
}

#[test]
fn images_lie_channels_last_from_convolution_to_reshape() {
    let graph = mixed();
    let analysis = graph.validate().unwrap();
    let plan = Plan::new(&graph, &analysis, ImageLayout::ChannelsLast);
    let last: Vec<&str> = plan.channels_last().collect();
    assert_eq!(last, ["conv", "relu", "sum", "cut", "joined", "pool"]);
    let first = Plan::new(&graph, &analysis, ImageLayout::ChannelsFirst);
    assert_eq!(first.channels_last().count(), 0);
}

#[test]
fn a_value_is_freed_after_its_last_use() {
    let graph = mixed();
    let plan = Plan::new(
        &graph,
        &graph.validate().unwrap(),
        ImageLayout::ChannelsLast,
    );
    let step = |name: &str| plan.steps().iter().find(|step| step.name == name).unwrap();
    let names = |step: &crate::run::Step| -> Vec<String> {
        step.releases
            .iter()
            .map(|&value| plan.values()[value].clone())
            .collect()
    };
    assert_eq!(names(step("relu")), [] as [String; 0]);
    assert_eq!(names(step("sum")), ["conv", "relu"]);
    assert_eq!(names(step("joined")), ["cut:0", "cut:1"]);
    let released: usize = plan.steps().iter().map(|step| step.releases.len()).sum();
    assert_eq!(released, plan.values().len());
    let text = plan.to_string();
    assert!(
        text.contains("sum      channels last  frees conv, relu"),
        "{text}"
    );
}

#[test]
fn the_device_chooses_the_layout_unless_it_is_forced() {
    let device = Device::flex();
    let graph = mixed();
    let network = graph.compile(Seed::new(0), &device).unwrap();
    assert_eq!(network.plan().layout(), ImageLayout::ChannelsLast);
    let forced = graph
        .compile_with_layout(Seed::new(0), &device, ImageLayout::ChannelsFirst)
        .unwrap();
    assert_eq!(
        forced.to_device(&device.autodiff()).plan().layout(),
        ImageLayout::ChannelsFirst
    );
}
