//! Errors as users see them, and the exit codes that go with them.

use std::process::ExitCode;

use limbeck::Error;

use crate::output::Output;

/// The machine failed: a full disk, a device that is gone.
const MACHINE: u8 = 1;
/// The input was wrong: a file, a recipe, a name.
const INPUT: u8 = 2;
/// A check failed: a weak teacher, numbers that are not finite, an export that computes something else.
const CHECK: u8 = 3;
/// Interrupted, with a checkpoint to continue from.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints an error and gives its exit code.
pub(crate) fn report(error: &Error, output: &Output) -> ExitCode {
    let code = exit_code(error);
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    output.failure(&describe(error), code);
    ExitCode::from(code)
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Interrupted { .. } => INTERRUPTED,
        Error::Check(_) | Error::NotFinite { .. } | Error::WeakTeacher { .. } => CHECK,
        Error::Write { .. }
        | Error::Graph(limbeck::graph::Error::Write { .. } | limbeck::graph::Error::Device(_)) => {
            MACHINE
        }
        _ => INPUT,
    }
}

fn describe(error: &Error) -> Vec<String> {
    match error {
        Error::Recipe { problems } => problems.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    }
}

/// A reader that closed the pipe, such as `head`, has seen what it wanted.
fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Write { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_input_checks_and_machine_apart() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(exit_code(&Error::Data("x".to_owned())), 2);
        assert_eq!(exit_code(&Error::Check("x".to_owned())), 3);
        assert_eq!(
            exit_code(&Error::WeakTeacher {
                accuracy: 0.1,
                minimum: 0.5
            }),
            3
        );
        assert_eq!(exit_code(&Error::write("x".as_ref(), full())), 1);
        assert_eq!(
            exit_code(&Error::Interrupted {
                step: 1,
                checkpoint: "x".into()
            }),
            130
        );
    }
}
