//! The language in which people say conditions, and fill in parameters: expressions of CEL, the
//! [Common Expression Language](https://cel.dev), on JSON.
//!
//! * [`Expression`]: a condition (`event.width > 100`), or a value.
//! * [`Template`]: JSON whose strings may have expressions in them: `"${{ event.name }}.webp"`.
//! * [`Scope`]: the data that they read.
//!
//! An expression says nothing but a value: it has no loops of its own, no time, no chance and no side effects. Whoever
//! writes one is not trusted with the time and memory of this process: everything has a limit
//! ([`EXPRESSION_BYTES_MAX`] and those beside it), and what could do too much with the data that there is, does not begin
//! ([`EVALUATION_UNITS_MAX`]).
//!
//! Nothing of the library that parses and evaluates is seen from outside, so that another could take its place.
//!
//! ```
//! use crewcall_expressions::{Expression, Scope, Template};
//! use serde_json::json;
//!
//! let event = json!({ "name": "beach.jpg", "width": 4000 });
//! let scope = Scope::new([("event", &event)])?;
//!
//! assert!(Expression::parse_condition("event.width > 100", &["event"])?.boolean(&scope)?);
//!
//! let parameters = json!({ "title": "A picture: ${{ event.name }}", "width": "${{ event.width / 2 }}" });
//! let template = Template::parse(&parameters, &["event"]).expect("it is right");
//! assert_eq!(template.fill(&scope)?, json!({ "title": "A picture: beach.jpg", "width": 2000 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod limits;

mod error;
mod expression;
mod scope;
mod template;

mod placeholders;

mod check;
mod syntax;

mod budget;
mod evaluation;
mod measure;
mod path;
mod stack;

/// What expressions read, and what they make.
pub use serde_json::Value as Json;

pub use error::{Failed, Invalid, ScopeError};
pub use expression::Expression;
pub use limits::{
    CALLERS_STACK_DEPTH_MAX, EVALUATION_UNITS_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX,
    EXPRESSION_NODES_MAX, JSON_LEVELS_MAX, OUTPUT_BYTES_MAX, SCOPE_BYTES_MAX, STACK_BYTES, STEP_UNITS,
    TEMPLATE_BYTES_MAX, TEMPLATE_EXPRESSIONS_MAX, TEMPLATE_PROBLEMS_MAX,
};
pub use scope::Scope;
pub use template::Template;
