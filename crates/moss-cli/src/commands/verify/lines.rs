//! One line for each comparison of `verify`.

use std::process::ExitCode;

use moss_bench::verify::{Check, CheckKind, Outcome};
use moss_messages::{Text, msg};

use crate::{fold::left, printer::Printer};

/// Places of what is compared, on a terminal.
const LABEL: usize = 28;

/// The printed results.
pub(super) struct Lines<'a> {
    printer: &'a Printer,
    failed: bool,
    printed: anyhow::Result<()>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        Self {
            printer,
            failed: false,
            printed: Ok(()),
        }
    }

    pub(super) fn print(&mut self, check: &Check) {
        self.failed |= !check.passed();
        if self.printed.is_ok() {
            self.printed = self
                .printer
                .report(&line(check, self.printer))
                .map_err(Into::into);
        }
    }

    pub(super) fn exit_code(self) -> anyhow::Result<ExitCode> {
        self.printed?;
        Ok(if self.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn line(check: &Check, printer: &Printer) -> String {
    let [what, found] = [what(&check.kind), found(check)].map(|text| printer.text(&text));
    let verdict = if check.passed() { "PASS" } else { "FAIL" };
    format!("{verdict} {} {found}\n", left(&what, LABEL))
}

fn what(kind: &CheckKind) -> Text {
    match kind {
        CheckKind::Logits => msg!("plain", value = "logits"),
        CheckKind::BestLogit => msg!("verify-best-logit"),
        CheckKind::LogSumExp => msg!("verify-logsumexp"),
        CheckKind::BestToken => msg!("verify-best-token"),
        CheckKind::TopToken => msg!("verify-top-token"),
        CheckKind::HiddenStates { worst } => {
            let worst = match worst {
                Some(name) => msg!("plain", value = name),
                None => msg!("verify-none"),
            };
            msg!("verify-hidden", worst)
        }
        CheckKind::GreedyPaths => msg!("verify-greedy"),
        CheckKind::SamplingSets => msg!("verify-sampling"),
        CheckKind::SamplingProbabilities => msg!("verify-probabilities"),
    }
}

fn found(check: &Check) -> Text {
    match (&check.kind, check.outcome) {
        (_, Outcome::Difference { largest, allowed }) => {
            let difference = format!("{largest:.2e}");
            let allowed = format!("{allowed:.0e}");
            msg!("verify-difference", difference, allowed)
        }
        (CheckKind::GreedyPaths, Outcome::Mismatches { count, total }) => {
            msg!("verify-greedy-right", right = total - count, total)
        }
        (CheckKind::SamplingSets, Outcome::Mismatches { count, total }) => {
            msg!("verify-sampling-right", right = total - count, total)
        }
        (CheckKind::TopToken, Outcome::Mismatches { count, total }) => {
            msg!("verify-top-token-right", right = total - count, total)
        }
        (_, Outcome::Mismatches { count, .. }) => msg!("verify-positions-off", count),
    }
}
