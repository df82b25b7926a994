//! Checks a graph as a whole and puts its nodes in an order in which they can run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::{Graph, Header, Outcome};

/// The first and the last version of the file format that is known: 3 brought operator sets.
const IR_VERSIONS: [i64; 2] = [3, 14];

/// The first and the last of ONNX's operator sets that is known.
const OPSETS: [i64; 2] = [11, 28];

impl Header {
    /// Checks the versions.
    pub(super) fn check(&self) -> Outcome<()> {
        let [first, last] = IR_VERSIONS;
        if !(first..=last).contains(&self.ir_version) {
            return Err(format!(
                "it is of file format version {}, known are {first} to {last}",
                self.ir_version
            ));
        }
        let [first, last] = OPSETS;
        match self.opset_imports.get("") {
            Some(opset) if (first..=last).contains(opset) => Ok(()),
            Some(opset) => Err(format!(
                "it uses operator set {opset}, known are {first} to {last}; convert it with \
                 `onnx.version_converter`"
            )),
            None => Err(format!(
                "it names no version of ONNX's operator set, known are {first} to {last}"
            )),
        }
    }
}

impl Graph {
    /// Checks that every name is defined once and before its use, sorting the nodes where they are not in order, and
    /// takes the initialisers from the inputs.
    pub(super) fn check(&mut self) -> Outcome<()> {
        let mut inputs = HashSet::new();
        for input in &self.inputs {
            if input.name.is_empty() {
                return Err("an input has no name".to_owned());
            }
            if !inputs.insert(input.name.as_str()) {
                return Err(format!("input `{}` is defined twice", input.name));
            }
        }
        if self.initialisers.contains_key("") {
            return Err("an initialiser has no name".to_owned());
        }
        let mut names = HashSet::new();
        let mut makers = HashMap::new();
        for (position, node) in self.nodes.iter().enumerate() {
            if node.op_type.is_empty() {
                return Err(format!("node {position} `{}` has no operator", node.name));
            }
            if !node.name.is_empty() && !names.insert(node.name.as_str()) {
                return Err(format!("two nodes are called `{}`", node.name));
            }
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                if inputs.contains(output.as_str()) || self.initialisers.contains_key(output) {
                    return Err(format!(
                        "{node}: its output `{output}` is also an input or an initialiser"
                    ));
                }
                if makers.insert(output.as_str(), position).is_some() {
                    return Err(format!("{node}: its output `{output}` is defined twice"));
                }
            }
        }
        let known = |name: &str| {
            inputs.contains(name)
                || self.initialisers.contains_key(name)
                || makers.contains_key(name)
        };
        for node in &self.nodes {
            let used = node.inputs.iter().filter(|input| !input.is_empty());
            if let Some(input) = used.into_iter().find(|input| !known(input)) {
                return Err(format!("{node}: its input `{input}` is not defined"));
            }
        }
        let mut outputs = HashSet::new();
        for output in &self.outputs {
            if !known(&output.name) {
                return Err(format!("output `{}` is not defined", output.name));
            }
            if !outputs.insert(output.name.as_str()) {
                return Err(format!("output `{}` is listed twice", output.name));
            }
        }
        let order = self.order(&makers)?;
        if !order.is_sorted() {
            let mut nodes: Vec<_> = self.nodes.drain(..).map(Some).collect();
            self.nodes = order
                .iter()
                .filter_map(|&node| nodes[node].take())
                .collect();
        }
        self.inputs
            .retain(|input| !self.initialisers.contains_key(&input.name));
        Ok(())
    }

    /// The nodes' positions such that every one comes after those it needs; of those that can run, the one that
    /// comes first in the file.
    fn order(&self, makers: &HashMap<&str, usize>) -> Outcome<Vec<usize>> {
        let mut waiting = vec![0usize; self.nodes.len()];
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (position, node) in self.nodes.iter().enumerate() {
            for maker in node
                .inputs
                .iter()
                .filter_map(|input| makers.get(input.as_str()))
            {
                users[*maker].push(position);
                waiting[position] += 1;
            }
        }
        let ready = (0..waiting.len()).filter(|&node| waiting[node] == 0);
        let mut ready: BinaryHeap<_> = ready.map(Reverse).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(Reverse(node)) = ready.pop() {
            order.push(node);
            for &user in &users[node] {
                waiting[user] -= 1;
                if waiting[user] == 0 {
                    ready.push(Reverse(user));
                }
            }
        }
        match waiting.iter().position(|&inputs| inputs > 0) {
            Some(node) => Err(format!(
                "{}: it needs, through other nodes or itself, its own output",
                self.nodes[node]
            )),
            None => Ok(order),
        }
    }
}
