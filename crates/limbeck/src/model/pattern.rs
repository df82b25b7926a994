//! Patterns over names of weights.

/// A pattern over names: `*` stands for any number of characters, also none and also points, `?` for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern<'a>(pub &'a str);

impl Pattern<'_> {
    /// Whether the whole of `name` is as the pattern says.
    ///
    /// ```
    /// use limbeck::model::Pattern;
    ///
    /// assert!(Pattern("layer?.*.weight").matches("layer1.0.conv1.weight"));
    /// assert!(!Pattern("layer?").matches("layer10"));
    /// ```
    pub fn matches(self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut place) = (0, 0);
        // Where the last `*` stands, and up to where in the name it reaches. Only the last one ever has to give way, which
        // keeps the work at the product of both lengths.
        let mut star: Option<(usize, usize)> = None;
        while place < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, place));
                    at += 1;
                }
                Some(&wanted) if wanted == '?' || wanted == name[place] => {
                    at += 1;
                    place += 1;
                }
                _ => match &mut star {
                    Some((start, reach)) => {
                        *reach += 1;
                        (at, place) = (*start + 1, *reach);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_they_should() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.weight", "conv1.weight", true),
            ("*.weight", "conv1.weight.x", false),
            ("layer1.*", "layer1.0.bn", true),
            ("layer1.*", "layer10.0.bn", false),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxcxb", false),
            ("**b", "ab", true),
            ("fc.weight", "fc.weight", true),
            ("onnx::Conv_?*", "onnx::Conv_123", true),
            ("gewicht-?", "gewicht-ä", true),
        ] {
            assert_eq!(Pattern(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        let name = "a".repeat(2000);
        assert!(!Pattern(&("*a".repeat(200) + "b")).matches(&name));
    }
}
