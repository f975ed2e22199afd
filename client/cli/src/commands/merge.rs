//! `lentic merge`

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lentic_client::{MergeOperator, WriteBatch};

use super::written::{Written, end_of};
use crate::args::SyntaxArgs;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::session::{Outcome, Session};
use crate::text::{Span, operand};

/// Fold an operand into the value of a key, at the server; prints the version of the write
#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArgs {
    /// The table
    table: String,
    /// The key
    key: String,
    /// How to fold
    #[arg(value_parser = operators())]
    operator: MergeOperator,
    /// An integer for …-i64, a number for …-f64, the members for set-union, else bytes
    #[arg(required = true, allow_negative_numbers = true)]
    operand: Vec<String>,
    /// How long the merged value lives; else its end stays as it is
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    #[command(flatten)]
    syntax: SyntaxArgs,
}

fn operators() -> impl TypedValueParser<Value = MergeOperator> {
    let names = PossibleValuesParser::new(MergeOperator::ALL.map(|(_, name)| name));
    names.map(|name| MergeOperator::from_name(&name).expect("only names of operators pass"))
}

impl MergeArgs {
    pub(crate) async fn run(&self, session: &mut Session) -> Outcome {
        let key = self.syntax.parse("key", &self.key)?;
        let operand = operand(self.operator, &self.operand, self.syntax.syntax()).map_err(Failure::usage)?;
        let client = session.client().await?;
        let batch = WriteBatch::new();
        let batch = match end_of(self.ttl, &client).await? {
            Some(end) => batch.merge_with(key, self.operator, operand, end),
            None => batch.merge(key, self.operator, operand),
        };
        let version = client.table(&self.table).write(batch).await?;
        session.printer.answer(&Written::at(version))?;
        Ok(Ending::Done)
    }
}
