//! The globals a pickle may name.

use super::super::element::Element;

/// Modules whose functions reach outside the program. No checkpoint has a use for them.
const DANGEROUS_MODULES: [&str; 28] = [
    "_pickle",
    "_posixsubprocess",
    "asyncio",
    "bdb",
    "codeop",
    "ctypes",
    "ftplib",
    "http",
    "importlib",
    "marshal",
    "multiprocessing",
    "nt",
    "os",
    "pdb",
    "pickle",
    "pip",
    "popen2",
    "posix",
    "pty",
    "requests",
    "runpy",
    "shutil",
    "smtplib",
    "socket",
    "subprocess",
    "sys",
    "urllib",
    "webbrowser",
];

/// The same for modules whose names a project's own folder may also have.
const DANGEROUS_EXACTLY: [&str; 5] = ["code", "commands", "imp", "timeit", "profile"];

/// Builtin functions that run code or open files.
const DANGEROUS_BUILTINS: [&str; 13] = [
    "__import__",
    "breakpoint",
    "compile",
    "delattr",
    "eval",
    "exec",
    "execfile",
    "file",
    "globals",
    "input",
    "open",
    "raw_input",
    "setattr",
];

/// Whether the global can only be meant to run code or to reach files or the network when Python loads
/// the pickle.
///
/// Limbeck calls nothing that a pickle names, so this decides only whether an attack is reported.
pub(super) fn is_dangerous(module: &str, name: &str) -> bool {
    let top = module.split('.').next().unwrap_or(module);
    match top {
        "builtins" | "__builtin__" => {
            let name = name.split('.').next().unwrap_or(name);
            DANGEROUS_BUILTINS.contains(&name)
        }
        "torch" => {
            matches!(module, "torch.hub" | "torch.utils.cpp_extension")
                || matches!((module, name), ("torch" | "torch.serialization", "load"))
        }
        "numpy" => module.starts_with("numpy.testing") || module.starts_with("numpy.f2py"),
        "io" | "_io" => name == "open",
        _ => DANGEROUS_MODULES.contains(&top) || DANGEROUS_EXACTLY.contains(&module),
    }
}

/// The element type of a storage class such as `torch.FloatStorage`; `Some(None)` for plain bytes.
pub(super) fn storage_element(module: &str, name: &str) -> Option<Option<Element>> {
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(Some(match name {
        "UntypedStorage" | "_UntypedStorage" => return Some(None),
        "DoubleStorage" => Element::F64,
        "FloatStorage" => Element::F32,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::BF16,
        "LongStorage" => Element::I64,
        "IntStorage" => Element::I32,
        "ShortStorage" => Element::I16,
        "CharStorage" => Element::I8,
        "ByteStorage" => Element::U8,
        "BoolStorage" => Element::Bool,
        "ComplexFloatStorage" => Element::Unsupported("complex64", 8),
        "ComplexDoubleStorage" => Element::Unsupported("complex128", 16),
        "QInt8Storage" => Element::Unsupported("qint8", 1),
        "QUInt8Storage" => Element::Unsupported("quint8", 1),
        "QInt32Storage" => Element::Unsupported("qint32", 4),
        "QUInt4x2Storage" => Element::Unsupported("quint4x2", 1),
        "QUInt2x4Storage" => Element::Unsupported("quint2x4", 1),
        _ => return None,
    }))
}

/// The element type that a dtype such as `torch.uint16` names.
pub(super) fn dtype_element(module: &str, name: &str) -> Option<Element> {
    if module != "torch" {
        return None;
    }
    Some(match name {
        "float64" | "double" => Element::F64,
        "float32" | "float" => Element::F32,
        "float16" | "half" => Element::F16,
        "bfloat16" => Element::BF16,
        "int64" | "long" => Element::I64,
        "int32" | "int" => Element::I32,
        "int16" | "short" => Element::I16,
        "int8" => Element::I8,
        "uint64" => Element::U64,
        "uint32" => Element::U32,
        "uint16" => Element::U16,
        "uint8" => Element::U8,
        "bool" => Element::Bool,
        "float8_e4m3fn" | "float8_e5m2" | "float8_e4m3fnuz" | "float8_e5m2fnuz"
        | "float8_e8m0fnu" => Element::Unsupported("float8", 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_told_from_training_code() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("__builtin__", "exec"),
            ("builtins", "__import__"),
            ("importlib", "import_module"),
            ("os.path", "expanduser"),
            ("multiprocessing.util", "spawnv_passfds"),
            ("torch", "load"),
            ("builtins", "eval.__call__"),
            ("torch.hub", "load"),
            ("code", "interact"),
            ("numpy.testing._private.utils", "runstring"),
        ] {
            assert!(is_dangerous(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("torch._utils", "_rebuild_tensor_v2"),
            ("collections", "OrderedDict"),
            ("argparse", "Namespace"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy", "dtype"),
            ("pathlib", "PosixPath"),
            ("builtins", "getattr"),
            ("__builtin__", "set"),
            ("_codecs", "encode"),
            ("operating", "system"),
            ("code.models", "Arguments"),
            ("torch.optim.lr_scheduler", "MultiStepLR"),
        ] {
            assert!(!is_dangerous(module, name), "{module}.{name}");
        }
    }
}
