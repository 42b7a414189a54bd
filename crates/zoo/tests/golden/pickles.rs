//! Pickles written by hand: files of any tensors, and hostile ones.

use kiln_zoo::{ReadError, Tensors};

/// A tensor to write: name, `torch`'s class of storage, shape, values.
pub type Entry = (String, &'static str, Vec<usize>, Vec<u8>);

/// Writes a legacy file of tensors.
pub fn legacy(entries: &[Entry]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend([b"\x80\x02}", &text("little_endian")[..], b"\x88s."].concat());
    file.extend(b"\x80\x02}(");
    for (at, (name, class, shape, _)) in entries.iter().enumerate() {
        let count: usize = shape.iter().product();
        let strides: Vec<usize> = (1..=shape.len())
            .map(|axis| shape[axis..].iter().product())
            .collect();
        file.extend(text(name));
        file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        file.extend(text("storage"));
        file.extend(format!("ctorch\n{class}\n").bytes());
        file.extend(text(&at.to_string()));
        file.extend(text("cpu"));
        file.extend([&int(count)[..], b"NtQK\x00"].concat());
        file.extend([&sizes(shape)[..], &sizes(&strides), b"\x89}tR"].concat());
    }
    file.extend(b"u.\x80\x02](");
    for at in 0..entries.len() {
        file.extend(text(&at.to_string()));
    }
    file.extend(b"e.");
    for (_, _, shape, values) in entries {
        let count: usize = shape.iter().product();
        file.extend((count as u64).to_le_bytes());
        file.extend(values);
    }
    file
}

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

fn int(value: usize) -> Vec<u8> {
    let value = i32::try_from(value).unwrap().to_le_bytes();
    [b"J", &value[..]].concat()
}

fn sizes(values: &[usize]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&value| int(value)).collect();
    [b"(", &values[..], b"t"].concat()
}

fn message(pickle: &[u8]) -> String {
    Tensors::read(pickle).unwrap_err().to_string()
}

#[test]
fn other_functions_are_named_and_not_called() {
    for (pickle, name) in [
        (&b"cos\nsystem\n(Vtouch hacked\ntR."[..], "os.system"),
        (b"\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"ctorch\nBoolStorage\n.", "torch.BoolStorage"),
        (b"c_codecs\nencode\n.", "_codecs.encode"),
        (b"c\x1b[31mred\nx\n.", "\u{fffd}[31mred.x"),
    ] {
        let expected = format!("found `{name}` at byte ");
        assert!(message(pickle).contains(&expected), "{}", message(pickle));
    }
    // Longer than any name: cut, not copied into the message.
    let long = [b"c", &vec![b'm'; 1 << 20][..], b"\nx\n."].concat();
    assert!(message(&long).len() < 300);
}

#[test]
fn classes_and_foreign_operations_are_refused() {
    for pickle in [
        &b"(ios\nsystem\n."[..],
        b"(ccollections\nOrderedDict\no.",
        b"}\x82\x01.",
        b"P0\n.",
        b"NQ.",
        b"\x97.",
        b"\x8f.",
        b"}}\x81.",
    ] {
        assert!(matches!(
            Tensors::read(pickle),
            Err(ReadError::Opcode { .. } | ReadError::Global { .. })
        ));
    }
    assert!(message(b"ctorch\nFloatStorage\n)R.").contains("found a class"));
    assert!(message(b"cnumpy\nndarray\n)R.").contains("found a class"));
    assert!(message(b"N)R.").contains("expected a function"));
}

#[test]
fn lengths_beyond_the_file_take_no_memory() {
    let huge = u64::MAX.to_le_bytes();
    for pickle in [
        [b"\x8e", &huge[..], b"."].concat(),
        [b"\x8d", &huge[..], b"."].concat(),
        [b"\x96", &huge[..], b"."].concat(),
        b"B\xff\xff\xff\xff.".to_vec(),
        b"X\xff\xff\xff\xff.".to_vec(),
        b"\x8b\xff\xff\xff\xff.".to_vec(),
        b"Vno end of line".to_vec(),
        Vec::new(),
    ] {
        assert!(matches!(
            Tensors::read(&pickle),
            Err(ReadError::Truncated { .. })
        ));
    }
}

#[test]
fn operands_are_checked() {
    for (pickle, expected) in [
        (&b"."[..], "a value"),
        (b"(.", "a value"),
        (b"t.", "a mark"),
        (b"N(a.", "a value"),
        (b"NNa.", "a list"),
        (b"}NNNu.", "a mark"),
        (b"}(Nu.", "a value for every key"),
        (b"h\x07.", "a value stored before"),
        (b"gx\n.", "digits"),
        (b"I1x\n.", "digits"),
        (b"Vx\\u0041\n.", "text without escapes"),
        (b"Sx\n.", "text in quotes"),
        (b"X\x01\0\0\0\xff.", "UTF-8"),
        (b"NN\x93.", "a module and a name"),
        (b"NNb.", "an object with a state"),
        (b"cnumpy\ndtype\nU\x02f9\x85R.", "one of the types"),
        (
            b"cnumpy\ndtype\nU\x02f4\x85R(K\x03U\x01>tb.",
            "a little-endian type",
        ),
    ] {
        let message = message(pickle);
        assert!(
            message.starts_with(&format!("expected {expected}")),
            "{message}"
        );
    }
}

/// An array of `count` bytes, before its bytes: type, then state up to them.
fn array(state: &[u8]) -> Vec<u8> {
    [
        &b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\x01btR("[..],
        state,
        b"tb.",
    ]
    .concat()
}

#[test]
fn arrays_have_as_many_bytes_as_their_shape() {
    let dtype = &b"cnumpy\ndtype\nU\x02u1\x85R(K\x03U\x01|tb\x89"[..];
    let right = array(&[&b"K\x01K\x02K\x02\x86"[..], dtype, b"C\x04abcd"].concat());
    let tensors = Tensors::read(&right).unwrap();
    assert_eq!(tensors.get("").unwrap().shape(), [2, 2]);
    for shape in [
        &b"K\x02K\x03\x86"[..],
        b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86",
        b")",
        b"K\0\x85",
    ] {
        let state = [b"K\x01", shape, dtype, b"C\x04abcd"].concat();
        assert!(message(&array(&state)).contains("expected as many values as the shape has"));
    }
    let negative = [b"K\x01J\xff\xff\xff\xff\x85", dtype, b"C\x04abcd"].concat();
    assert!(message(&array(&negative)).starts_with("expected sizes"));
    let many = [b"K\x01(KKKKKKKKKKKKKKKKKKt", dtype, b"C\x04abcd"].concat();
    assert!(message(&array(&many)).starts_with("expected at most 8 axes"));
    let stateless = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\ntR.";
    assert!(message(stateless).contains("expected a tensor, found an array"));
}

#[test]
fn circles_and_deep_nesting_end() {
    let limit = "expected at most 8 lists and dictionaries in one another, found more";
    assert_eq!(message(b"]q\0h\0a."), limit);
    assert_eq!(message(b"}q\0Vx\nh\0s."), limit);
    let deep = [vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    assert_eq!(message(&deep), limit);
}

#[test]
fn bombs_are_limited() {
    // Each of 7 lists holds the one before a hundred times: 10^14 values in 2 kB.
    let mut pickle = b"]q\0".to_vec();
    for level in 1..8 {
        pickle.extend(b"](");
        pickle.extend([b'h', level - 1].repeat(100));
        pickle.extend([b'e', b'q', level]);
    }
    pickle.push(b'.');
    assert_eq!(
        message(&pickle),
        "expected at most 262144 values, found more"
    );

    // A thousand views of one array.
    let dtype = &b"cnumpy\ndtype\nU\x02u1\x85R(K\x03U\x01|tb\x89"[..];
    let values = [b"K\x01M\xe8\x03\x85", dtype, b"B\xe8\x03\0\0", &[7; 1000]].concat();
    let array = array(&values);
    let copies = b"h\0".repeat(1000);
    let pickle = [b"(", &array[..array.len() - 1], b"q\0", &copies, b"l."].concat();
    assert!(message(&pickle).contains("values in all tensors"));

    let endless = [vec![b'N'; 1 << 18], b".".to_vec()].concat();
    assert!(message(&endless).contains("operations in a pickle"));

    let name = [&text(&"n".repeat(300))[..], b"N"].concat();
    let pickle = [b"}(", &name[..], b"u."].concat();
    assert!(message(&pickle).contains("bytes in the name of a tensor"));
}

#[test]
fn storages_must_be_in_the_file() {
    let entry = || ("w".to_owned(), "FloatStorage", vec![2, 3], vec![0; 24]);
    let right = legacy(&[entry()]);
    assert_eq!(
        Tensors::read(&right).unwrap().get("w").unwrap().shape(),
        [2, 3]
    );

    let replaced = |from: &[u8], to: &[u8]| {
        let at = right
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        message(&[&right[..at], to, &right[at + from.len()..]].concat())
    };
    // Three rows of three values, one row, and a stride beyond everything.
    let shape = [&b"("[..], &int(2), &int(3), b"t"].concat();
    let more = [&b"("[..], &int(3), &int(3), b"t"].concat();
    assert!(replaced(&shape, &more).contains("expected values within their storage"));
    let strides = [&b"("[..], &int(3), &int(1), b"t"].concat();
    let far = [&b"("[..], &int(i32::MAX as usize), &int(1), b"t"].concat();
    assert!(replaced(&strides, &far).contains("expected values within their storage"));
    let one = [&b"("[..], &int(1), b"t"].concat();
    assert!(replaced(&strides, &one).contains("one stride for each axis"));
    // Another type, length or key.
    assert!(replaced(b"FloatStorage", b"DoubleStorage").contains("expected more bytes"));
    assert!(replaced(&int(6), &int(5)).contains("as long as the tensors say"));
    assert!(replaced(&text("little_endian"), &text("middle_endian")).contains("little-endian"));
    assert!(replaced(b"M\xe9\x03", b"M\xea\x03").contains("version 1001"));
    let renamed = [b"](", &text("1")[..]].concat();
    let keys = [b"](", &text("0")[..]].concat();
    assert!(replaced(&keys, &renamed).contains("storages of tensors only"));

    let mut twice = vec![entry(), entry()];
    assert!(message(&legacy(&twice)).contains("`w`: expected one tensor of this name, found two"));
    twice[1].0 = "v".into();
    assert_eq!(Tensors::read(&legacy(&twice)).unwrap().len(), 2);
}
