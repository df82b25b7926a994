#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;
use crate::build::Builder;

fn graph() -> Graph {
    let mut b = Builder::new("net");
    let x = b.image([3, 8, 8]);
    let x = b.conv2d("conv", x, Conv2d::new(3, 4, 3).padding(1));
    let x = b.batch_norm("bn", x);
    let [a, c] = b.split("cut", x, 1, [1, 3]);
    let x = b.concatenate("joined", &[c, a], 1);
    b.tap("stage1", x);
    let x = b.global_avg_pool("pool", x);
    let x = b.flatten("flat", x);
    let x = b.linear("fc", x, Linear::new(4, 2));
    b.finish(x).unwrap()
}

fn refused(change: impl Fn(&mut Graph)) -> String {
    let mut graph = graph();
    change(&mut graph);
    graph.validate().unwrap_err().to_string()
}

fn node_mut<'a>(graph: &'a mut Graph, name: &str) -> &'a mut Node {
    graph
        .nodes
        .iter_mut()
        .find(|node| node.name == name)
        .unwrap()
}

#[test]
fn shapes_are_inferred_whatever_the_order_of_the_nodes() {
    let forwards = graph();
    let mut backwards = forwards.clone();
    backwards.nodes.reverse();
    let (a, b) = (forwards.validate().unwrap(), backwards.validate().unwrap());
    assert_eq!(a.values, b.values);
    assert_eq!(a.values["cut:1"].shape.to_string(), "[batch, 3, 8, 8]");
    assert_eq!(a.values["fc"].shape.sizes(7), [7, 2]);
    assert_eq!(a.order, (0..forwards.nodes.len()).collect::<Vec<_>>());
    assert_eq!(a.value(&forwards, "stage1").unwrap(), &a.values["joined"]);
    let unknown = a.value(&forwards, "stage2").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "there is no value `stage2`; did you mean `stage1`?"
    );
}

#[test]
fn json_keeps_everything() {
    let graph = graph();
    let text = serde_json::to_string_pretty(&graph).unwrap();
    assert!(text.contains("\"kind\": \"conv2d\""), "{text}");
    assert!(text.contains("\"batch\""), "{text}");
    assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph);
}

#[test]
fn json_with_an_unknown_key_or_dimension_is_refused() {
    let text = serde_json::to_string(&graph()).unwrap();
    let typo = text.replacen("\"dilation\"", "\"dilatation\"", 1);
    let message = serde_json::from_str::<Graph>(&typo)
        .unwrap_err()
        .to_string();
    assert!(message.contains("unknown field `dilatation`"), "{message}");
    let word = text.replacen("\"batch\"", "\"rows\"", 1);
    let message = serde_json::from_str::<Graph>(&word)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("expected a size, \"batch\" or \"4 batch\", got \"rows\""),
        "{message}"
    );
}

#[test]
fn names_must_be_unique() {
    assert_eq!(
        refused(|graph| node_mut(graph, "bn").name = "conv".to_owned()),
        "graph `net`: two nodes are called `conv`"
    );
    assert_eq!(
        refused(|graph| node_mut(graph, "fc").name = "cut:0".to_owned()),
        "node `cut:0` (linear): its output `cut:0` has the name of another value"
    );
    assert_eq!(
        refused(|graph| node_mut(graph, "fc").name = "fc..1".to_owned()),
        "graph `net`: `fc..1` cannot be a node's name: expected words joined by dots"
    );
    assert_eq!(
        refused(|graph| graph.inputs.push(graph.inputs[0].clone())),
        "graph `net`: two inputs are called `input`"
    );
    assert_eq!(
        refused(|graph| {
            graph.taps.insert("bn".to_owned(), "conv".to_owned());
        }),
        "graph `net`: the tap `bn` stands for `conv`, but a value has that name already"
    );
}

#[test]
fn everything_named_must_exist() {
    assert_eq!(
        refused(|graph| node_mut(graph, "bn").inputs[0] = "konv".to_owned()),
        "node `bn` (batch_norm): there is no value `konv`; did you mean `conv`?"
    );
    assert_eq!(
        refused(|graph| {
            graph.weights.remove("conv.bias");
        }),
        "node `conv` (conv2d): there is no weight `conv.bias`; did you mean one of `conv.weight`, `bn.bias`, \
         `fc.bias`?"
    );
    assert_eq!(
        refused(|graph| {
            node_mut(graph, "conv").weights.remove("bias");
        }),
        "node `conv` (conv2d): expected a weight as `bias`, got only [weight]"
    );
    assert_eq!(
        refused(|graph| graph.outputs = vec!["fcc".to_owned()]),
        "there is no output value `fcc`; did you mean `fc`?"
    );
    assert_eq!(
        refused(|graph| graph.outputs.clear()),
        "graph `net`: expected at least one output, got none"
    );
    assert_eq!(
        refused(|graph| graph.inputs.clear()),
        "graph `net`: expected at least one input, got none"
    );
    assert!(
        refused(|graph| {
            graph.taps.insert("stage2".to_owned(), "missing".to_owned());
        })
        .starts_with("there is no tapped value `missing`")
    );
}

#[test]
fn weights_must_fit_and_be_used() {
    assert_eq!(
        refused(|graph| graph.weights.get_mut("fc.weight").unwrap().shape = vec![4, 2]),
        "node `fc` (linear): expected the weight `fc.weight` to be [2, 4], got [4, 2]"
    );
    assert_eq!(
        refused(|graph| graph.weights.get_mut("bn.running_mean").unwrap().kind = WeightKind::Bias),
        "node `bn` (batch_norm): expected `bn.running_mean` to be a running mean, got a bias"
    );
    assert_eq!(
        refused(|graph| {
            let spec = graph.weights["fc.bias"].clone();
            graph.weights.insert("spare".to_owned(), spec);
        }),
        "graph `net`: no node uses the weight `spare`"
    );
    assert_eq!(
        refused(|graph| {
            node_mut(graph, "pool")
                .weights
                .insert("weight".to_owned(), "fc.weight".to_owned());
        }),
        "node `pool` (global_avg_pool): it takes no weight as `weight`"
    );
}

#[test]
fn inputs_start_with_the_batch() {
    let mut fixed = graph();
    fixed.inputs[0].value.shape = Shape::fixed(&[1, 3, 8, 8]);
    assert_eq!(
        fixed.validate().unwrap_err().to_string(),
        "input `input`: expected [\"batch\", sizes...] with positive sizes, of rank 2 to 6 (2 for token ids), \
         got [1, 3, 8, 8]"
    );
    assert!(
        refused(|graph| graph.inputs[0].value.kind = Kind::Tokens)
            .starts_with("input `input`: expected")
    );
    assert!(
        refused(|graph| graph.inputs[0].value.shape = Shape::batched(&[3, 0, 8]))
            .contains("got [batch, 3, 0, 8]")
    );
}

#[test]
fn a_circle_is_found() {
    let message = refused(|graph| node_mut(graph, "bn").inputs[0] = "joined".to_owned());
    assert_eq!(
        message,
        "graph `net`: nodes wait for each other in a circle: `bn`, `cut`, `joined`, `pool`, `flat`"
    );
}

#[test]
fn two_nodes_may_share_a_weight() {
    let mut b = Builder::new("tied");
    let x = b.rows(4);
    let x = b.linear("a", x, Linear::new(4, 4));
    let x = b.linear("b", x, Linear::new(4, 4));
    let mut graph = b.finish(x).unwrap();
    let first = graph.nodes[0].weights.clone();
    graph.nodes[1].weights = first;
    graph.weights.retain(|name, _| name.starts_with("a."));
    graph.validate().unwrap();
    assert_eq!(graph.parameter_count(), 20);
    assert_eq!(
        crate::cost::Cost::of(&graph).unwrap().layers[1].parameters,
        0
    );
}

#[test]
fn sizes_are_written_as_words_and_read_back() {
    for (dim, text) in [
        (Dim::Fixed(7), "7"),
        (Dim::Batch, "\"batch\""),
        (Dim::Batches(4), "\"4 batch\""),
    ] {
        assert_eq!(serde_json::to_string(&dim).unwrap(), text);
        assert_eq!(serde_json::from_str::<Dim>(text).unwrap(), dim);
    }
    assert_eq!(
        serde_json::from_str::<Dim>("\"1 batch\"").unwrap(),
        Dim::Batch
    );
    for text in ["\"0 batch\"", "\"batches\"", "\"-2 batch\"", "-3", "\"\""] {
        assert!(serde_json::from_str::<Dim>(text).is_err(), "{text}");
    }
    assert_eq!(Dim::times_batch(1), Dim::Batch);
    assert_eq!(Dim::Batches(3).size(5), 15);
    assert_eq!(Dim::Batches(usize::MAX).size(2), usize::MAX);
}

#[test]
fn every_operator_on_values_is_written_and_read_back() {
    let shape = Shape(vec![Dim::Fixed(2), Dim::Batches(3), Dim::Batch]);
    let (view, expand) = (
        View {
            shape: shape.clone(),
        },
        Expand { shape },
    );
    let recurrent = |cell| {
        Op::Recurrent(Recurrent {
            cell,
            direction: Direction::Both,
            inputs: 3,
            hidden: 2,
            bias: false,
        })
    };
    let sides = vec![[0, 0], [1, 2]];
    let pad = |fill| {
        let sides = sides.clone();
        Op::Pad(Pad { sides, fill })
    };
    let ops = [
        Op::View(view),
        Op::Expand(expand),
        Op::Slice(Slice {
            axis: 1,
            start: 0,
            count: 2,
            step: 3,
        }),
        Op::Take(Take {
            axis: 1,
            indices: vec![2, 0],
        }),
        pad(Fill::Constant { value: 0.5 }),
        pad(Fill::Reflect),
        pad(Fill::Edge),
        Op::Divide,
        Op::Maximum,
        Op::Minimum,
        Op::Compare(Compare {
            relation: Relation::LessOrEqual,
        }),
        Op::Where,
        Op::Reduce(Reduce {
            reduction: Reduction::Product,
            axes: vec![1],
        }),
        Op::TokensAsFloats,
        Op::Constant(Constant { shape: vec![2] }),
        recurrent(Cell::Lstm),
        recurrent(Cell::Gru { reset_after: true }),
        recurrent(Cell::Tanh),
        Op::Activation(Activation::Clip {
            least: 0.0,
            most: 6.0,
        }),
        Op::Activation(Activation::Power { exponent: 2.0 }),
        Op::Activation(Activation::Erf),
    ];
    for op in ops {
        let text = serde_json::to_string(&op).unwrap();
        assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), op, "{text}");
    }
}

#[test]
fn infinite_bounds_are_written_and_read_back() {
    for op in [
        Op::Activation(Activation::Clip {
            least: f64::NEG_INFINITY,
            most: 3.0,
        }),
        Op::Activation(Activation::Clip {
            least: 0.0,
            most: f64::INFINITY,
        }),
        Op::Pad(Pad {
            sides: vec![[0, 0], [1, 1]],
            fill: Fill::Constant {
                value: f64::NEG_INFINITY,
            },
        }),
    ] {
        let text = serde_json::to_string(&op).unwrap();
        assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), op, "{text}");
    }
}
