//! Values of two networks that match by shape.

use std::collections::BTreeMap;

use limbeck_graph::ir::{Dim, Graph, Kind};
use serde::Serialize;

use crate::Result;

/// A value of the teacher and one of the student that a method could compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The teacher's value.
    pub teacher: String,
    /// Its sizes for one row.
    pub teacher_shape: Vec<usize>,
    /// The student's value.
    pub student: String,
    /// Its sizes for one row.
    pub student_shape: Vec<usize>,
}

/// The last values of both networks of each height and width, and the last ones of each other shape that both have.
///
/// Inputs and outputs do not count. Pairs are in the order in which the teacher computes them.
///
/// # Errors
/// If a graph is not valid.
pub fn pairs(teacher: &Graph, student: &Graph) -> Result<Vec<Pair>> {
    let teacher = ends(teacher)?;
    let student = ends(student)?;
    let mut pairs: Vec<(usize, Pair)> = teacher
        .into_iter()
        .filter_map(|(place, (position, name, shape))| {
            let (_, student, student_shape) = student.get(&place)?.clone();
            let pair = Pair {
                teacher: name,
                teacher_shape: shape,
                student,
                student_shape,
            };
            Some((position, pair))
        })
        .collect();
    pairs.sort_by_key(|(position, _)| *position);
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

/// Position, name and sizes of a value.
type End = (usize, String, Vec<usize>);

/// The last value of each place: the rank with height and width of images, with all sizes of others.
fn ends(graph: &Graph) -> Result<BTreeMap<(usize, Vec<usize>), End>> {
    let analysis = graph.validate()?;
    let mut ends = BTreeMap::new();
    for (position, &index) in analysis.order.iter().enumerate() {
        for name in graph.nodes[index].outputs() {
            let value = &analysis.values[&name];
            let is_output = graph.outputs.contains(&name);
            let dims = value.shape.dims();
            // What an importer made up has no name that a user could know.
            let made_up = name.contains('~');
            let batched = dims.first() == Some(&Dim::Batch);
            if value.kind != Kind::Float || is_output || made_up || !batched {
                continue;
            }
            let sizes: Vec<usize> = value.shape.sizes(1)[1..].to_vec();
            let place = match sizes.as_slice() {
                [_, height, width] => vec![*height, *width],
                [] => continue,
                other => other.to_vec(),
            };
            // A name that the graph gives to the end of a stage says more than that of the node.
            let known = graph
                .taps
                .iter()
                .find(|(alias, of)| **of == name && **alias != name);
            let shown = known.map_or(name, |(alias, _)| alias.clone());
            ends.insert((dims.len(), place), (position, shown, sizes));
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use limbeck_graph::zoo;

    use super::*;

    #[test]
    fn ends_of_stages_match_by_height_and_width() {
        let build = |name| zoo::build(name, [3, 32, 32], 10).unwrap();
        let found = pairs(&build("resnet-20"), &build("resnet-8x4")).unwrap();
        let stages: Vec<_> = found
            .iter()
            .filter(|pair| pair.teacher_shape.len() == 3 && pair.teacher_shape[1] > 1)
            .map(|pair| {
                (
                    pair.teacher.as_str(),
                    pair.student.as_str(),
                    pair.teacher_shape[1],
                )
            })
            .collect();
        assert_eq!(
            stages,
            [
                ("stage1", "stage1", 32),
                ("stage2", "stage2", 16),
                ("stage3", "stage3", 8)
            ]
        );
        assert!(found.iter().all(|pair| pair.teacher != "fc"), "{found:?}");
    }

    #[test]
    fn networks_without_a_common_place_have_no_pairs() {
        let a = zoo::build("mlp-8", [1, 8, 8], 10).unwrap();
        let b = zoo::build("mlp-12", [1, 8, 8], 10).unwrap();
        let found = pairs(&a, &b).unwrap();
        // Both flatten the image.
        assert!(
            found.iter().all(|pair| pair.teacher_shape == [64]),
            "{found:?}"
        );
    }
}
