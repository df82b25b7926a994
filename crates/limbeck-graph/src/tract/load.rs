//! Reads a checked file into tract's own form, in the form that evaluates.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::Onnx;
use tract_onnx::model::ParseResult;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModelExt, OutletId, TractResult, TypedModel,
};
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::InferenceModel;

use super::guard::Guard;
use super::repair::{self, repair};
use crate::Result;
use crate::onnx::{self, Model};

/// The sets of operators that tract implements; it looks at the operator's name alone.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// A model as tract reads it, before the sizes of its inputs are known.
pub(super) struct Loaded {
    model: InferenceModel,
    /// The outputs of the file, first the network's.
    pub(super) outputs: Vec<OutletId>,
    pub(super) output_names: Vec<String>,
    /// The values that can be tapped, by their own names and by their nodes'.
    pub(super) taps: BTreeMap<String, OutletId>,
    /// The names of [`taps`](Self::taps) in order of computation.
    pub(super) tap_names: Vec<String>,
}

impl Loaded {
    pub(super) fn new(model: Model, guard: Guard<'_>) -> Result<Self> {
        let mut framework = tract_onnx::onnx().with_ignore_value_info(true);
        repair::register(&mut framework);
        check_operators(&model, &framework).map_err(|problem| guard.error(problem))?;
        let folder = match guard.path.parent() {
            Some(folder) => folder.to_str().ok_or_else(|| {
                guard.error("its folder has a name that is not UTF-8; move it".to_owned())
            })?,
            None => "",
        };
        let mut proto = guard.run(|| framework.proto_model_for_read(&mut model.bytes()))?;
        let graph = model.graph().clone();
        drop(model);
        if let Some(graph) = &mut proto.graph {
            graph.node.iter_mut().for_each(evaluate);
            repair(graph).map_err(|problem| guard.error(problem))?;
        }
        let ParseResult {
            model,
            unresolved_inputs,
            outlets_by_name,
        } = guard.run(|| framework.parse(&proto, Some(folder)))?;
        drop(proto);
        if let Some(name) = unresolved_inputs.first() {
            return Err(guard.error(format!("no node makes the value `{name}`")));
        }
        let output_names: Vec<_> = graph.outputs.iter().map(|info| info.name.clone()).collect();
        let outputs = output_names.iter().map(|name| {
            let outlet = outlets_by_name.get(name).copied();
            outlet.ok_or_else(|| guard.error(format!("no node makes the output `{name}`")))
        });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        if outputs.is_empty() {
            return Err(guard.error("expected at least one output, got none".to_owned()));
        }
        let analysed = guard.run(|| {
            let mut analysed = model.clone();
            // What stays unknown without the sizes of the inputs is checked when they are known.
            analysed.analyse(true).ok();
            Ok(analysed)
        });
        let is_feature = |outlet: &OutletId| {
            let fact = analysed.as_ref().ok();
            let fact = fact.and_then(|model| model.outlet_fact(*outlet).ok());
            fact.is_none_or(holds_features)
        };
        let (taps, tap_names) = taps(&graph, |name| {
            outlets_by_name.get(name).copied().filter(is_feature)
        });
        Ok(Self {
            model,
            outputs,
            output_names,
            taps,
            tap_names,
        })
    }

    /// The model for inputs of known types that computes `outputs`.
    pub(super) fn typed(
        &self,
        inputs: &[InferenceFact],
        outputs: &[OutletId],
    ) -> TractResult<TypedModel> {
        let mut model = self.model.clone();
        for (place, fact) in inputs.iter().enumerate() {
            model.set_input_fact(place, fact.clone())?;
        }
        model.select_output_outlets(outputs)?;
        model.into_typed()
    }
}

/// Checks that tract has every operator; it would say so too, but not what to do.
fn check_operators(model: &Model, framework: &Onnx) -> std::result::Result<(), String> {
    for node in &model.graph().nodes {
        let own = |function: &onnx::Function| {
            function.name == node.op_type && function.domain == node.domain
        };
        if model.header().functions.iter().any(own) {
            return Err(format!(
                "{node}: it calls a function that the model defines itself; inline the functions first \
                 (onnx.inliner.inline_local_functions)"
            ));
        }
        let known = DOMAINS.contains(&node.domain.as_str())
            && framework.op_register.0.contains_key(&node.op_type);
        if !known {
            let domain = match node.domain.as_str() {
                "" => String::new(),
                domain => format!(" of `{domain}`"),
            };
            return Err(format!(
                "{node}: tract does not have this operator{domain}; export the model with simpler operators"
            ));
        }
    }
    Ok(())
}

/// Puts a node that was exported in training form into the form that evaluates.
fn evaluate(node: &mut NodeProto) {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return;
    }
    match node.op_type.as_str() {
        "BatchNormalization" => {
            node.attribute
                .retain(|attribute| attribute.name != "training_mode");
            node.output.truncate(1);
        }
        // The second and third input are the rate and whether to train.
        "Dropout" => node.input.truncate(1),
        _ => {}
    }
}

/// Whether a value may be handed over as a [`Feature`](crate::Feature): real numbers of rank 1 to 6, as far as is known.
fn holds_features(fact: &InferenceFact) -> bool {
    let float = fact
        .datum_type
        .concretize()
        .is_none_or(|kind| kind.is_float());
    let rank = fact.shape.rank().concretize();
    float && rank.is_none_or(|rank| (1..=6).contains(&rank))
}

/// The values of `graph` that depend on its inputs, by their own names and by their nodes', and these names in order of computation.
fn taps(
    graph: &onnx::Graph,
    find: impl Fn(&str) -> Option<OutletId>,
) -> (BTreeMap<String, OutletId>, Vec<String>) {
    let mut computed: BTreeSet<&str> = graph.inputs.iter().map(|info| info.name.as_str()).collect();
    let mut values = computed.clone();
    values.extend(graph.initialisers.keys().map(String::as_str));
    values.extend(
        graph
            .nodes
            .iter()
            .flat_map(|node| node.outputs.iter().map(String::as_str)),
    );
    let mut taps = BTreeMap::new();
    let mut names = Vec::new();
    let mut add = |name: &str, outlet: OutletId| {
        if taps.insert(name.to_owned(), outlet).is_none() {
            names.push(name.to_owned());
        }
    };
    for info in &graph.inputs {
        if let Some(outlet) = find(&info.name) {
            add(&info.name, outlet);
        }
    }
    for node in &graph.nodes {
        if !node
            .inputs
            .iter()
            .any(|input| computed.contains(input.as_str()))
        {
            continue;
        }
        for (place, output) in node.outputs.iter().enumerate() {
            computed.insert(output);
            let Some(outlet) = find(output) else {
                continue;
            };
            add(output, outlet);
            if place == 0 && !node.name.is_empty() && !values.contains(node.name.as_str()) {
                add(&node.name, outlet);
            }
        }
    }
    (taps, names)
}
