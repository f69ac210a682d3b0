//! Every limit of the language, each with its reason.

/// The longest text of one expression, in bytes. What needs more is a program, and belongs into a worker; and a parser
/// that is given little to read can do little harm.
pub const EXPRESSION_BYTES_MAX: usize = 1024;

/// How deep an expression may be nested, counted in levels of its tree; a macro counts for up to four. Parsing and
/// evaluating are recursive, so this bounds their stack.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

/// How many parts (names, literals, operators, calls) an expression may have; a macro counts for up to ten. It bounds
/// what one evaluation without a macro can do.
pub const EXPRESSION_NODES_MAX: usize = 256;

/// The largest template, in bytes of its JSON text: as much as may come out of it.
pub const TEMPLATE_BYTES_MAX: usize = OUTPUT_BYTES_MAX;

/// How many expressions a template may have. All of them run for every event.
pub const TEMPLATE_EXPRESSIONS_MAX: usize = 100;

/// How many problems of a template are told at once. Each names its place, which may be as long as the template.
pub const TEMPLATE_PROBLEMS_MAX: usize = 20;

/// The most that may come out of an expression or of a whole template, in bytes of its JSON text. It becomes the
/// parameters of a job, which have to travel in a message.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// The most data that a [`Scope`](crate::Scope) lets in, in bytes of the JSON texts of all its values. The language's
/// form of a value takes more memory than its JSON: 40 MiB were seen for 1 MiB of small objects.
pub const SCOPE_BYTES_MAX: usize = 1024 * 1024;

/// How deep lists and objects may be nested, in data and in templates. Whoever walks through them does so recursively.
pub const JSON_LEVELS_MAX: usize = 64;

/// The most that one evaluation may do, or that those of one template may do together, in units: a byte that is held,
/// copied or compared is one, a value or a step is [`STEP_UNITS`]. It is estimated before the evaluation begins, from
/// the shape of the expression and the sizes of the data, and never too low: so it bounds time and memory of every
/// intermediate value as well. Half a second of a debug build and 24 MiB were the worst that was seen.
pub const EVALUATION_UNITS_MAX: u64 = 64 * 1024 * 1024;

/// What a value costs beside the bytes of its text, and what a step of an evaluation costs, in units of
/// [`EVALUATION_UNITS_MAX`].
pub const STEP_UNITS: u64 = 64;

/// The stack of the thread on which expressions are parsed, and deep ones evaluated, in bytes. They were seen to need an
/// eighth of it, in a debug build. Only what is used of it takes memory.
pub const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The deepest expression that is evaluated on the stack of whoever asks, in levels of its tree. A level was seen to take 65 KiB
/// in a debug build, so half a megabyte has to be left; most expressions are no deeper, and a thread costs time.
pub const CALLERS_STACK_DEPTH_MAX: usize = 8;
