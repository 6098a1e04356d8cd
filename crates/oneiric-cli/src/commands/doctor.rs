//! `doctor`: looks at everything that keeps a process from starting or serving, before it does or while
//! it does, and says what to do about each. It changes nothing, and what it cannot look at it says.

mod doors;
mod here;
mod process;
mod secrets;

use serde::Serialize;
use serde_json::json;

use crate::env_vars::Env;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::paint::{Paint, Style, harmless};
use crate::session::Session;

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Its name; scripts may go by it.
    check: &'static str,
    verdict: Verdict,
    /// What was seen.
    says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    /// It works, and somebody should look at it.
    Warning,
    Bad,
    /// It could not be looked at.
    Unknown,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            says: says.into(),
            fix: None,
        }
    }

    fn good(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, says)
    }

    fn warning(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, says)
    }

    fn bad(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Bad, says)
    }

    fn unknown(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, says)
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Of something that failed with an error of ours.
    fn failed(check: &'static str, failure: &Failure) -> Self {
        let says = format!("{} ({})", failure.message, failure.code);
        let hint = failure.best_hint().map(str::to_owned);
        Self {
            fix: hint,
            ..Self::bad(check, says)
        }
    }
}

pub(super) async fn run(env: &Env, session: &Session) -> Result<Output, Failure> {
    let mut findings = here::findings(env, session).await;
    findings.extend(process::findings(session).await);
    Ok(answer(&findings, session.paint))
}

fn answer(findings: &[Finding], paint: Paint) -> Output {
    let count = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
    let healthy = count(Verdict::Bad) == 0;
    let document = json!({
        "schema": "oneiric.doctor/1",
        "healthy": healthy,
        "checks": findings,
    });
    let mut text = String::new();
    for finding in findings {
        text.push_str(&line(finding, paint));
    }
    text.push_str(&format!(
        "\n{} good, {} to look at, {} bad, {} not checked\n",
        count(Verdict::Good),
        count(Verdict::Warning),
        count(Verdict::Bad),
        count(Verdict::Unknown),
    ));
    let exit = if healthy {
        Exit::DONE
    } else {
        Exit::CHECK_FAILED
    };
    Output::new(text, document).exits(exit)
}

fn line(finding: &Finding, paint: Paint) -> String {
    let (word, style) = match finding.verdict {
        Verdict::Good => ("good", Style::Good),
        Verdict::Warning => ("look", Style::Attention),
        Verdict::Bad => ("bad", Style::Bad),
        Verdict::Unknown => ("-", Style::Faint),
    };
    // Padded before it is painted, for escape sequences have no width.
    let word = paint.text(style, format!("{word:<4}"));
    let mut lines = vec![];
    let says = harmless(&finding.says);
    let mut said = says.lines();
    lines.push(format!(
        "{word}  {:<16}  {}",
        finding.check,
        said.next().unwrap_or_default()
    ));
    lines.extend(said.map(|more| format!("{:24}{more}", "")));
    if let Some(fix) = &finding.fix {
        let arrow = paint.text(Style::Heading, "->");
        lines.push(format!("{:24}{arrow} {}", "", harmless(fix)));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_with_its_fix_below() {
        let findings = [
            Finding::good("settings", "2 files"),
            Finding::bad("clock", "it is 19\u{1b}70\nlong ago").fix("set it"),
            Finding::unknown("ready", "no process"),
        ];
        let output = answer(&findings, Paint::new(false));
        assert_eq!(
            output.shown(false),
            "good  settings          2 files\n\
             bad   clock             it is 19\\u{1b}70\n                        long ago\n\
             \u{20}                       -> set it\n\
             -     ready             no process\n\
             \n1 good, 0 to look at, 1 bad, 1 not checked\n"
        );
        assert_eq!(output.exit(), Exit::CHECK_FAILED);
    }

    #[test]
    fn what_is_only_to_be_looked_at_is_no_failure() {
        let findings = [
            Finding::warning("clock", "x"),
            Finding::unknown("ready", "y"),
        ];
        assert_eq!(answer(&findings, Paint::new(false)).exit(), Exit::DONE);
    }
}
