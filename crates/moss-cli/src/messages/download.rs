//! Messages of downloads.

use std::time::Duration;

use moss::{
    hub::{DownloadPlan, Fault, Fetched},
    unicode::{Context, escape},
};
use moss_messages::{Text, msg};

use super::units::size;

/// Maximum number of characters of a licence that are shown.
const LONGEST_LICENSE: usize = 100;

/// Returns the summary of a download before it starts.
pub(crate) fn download_plan(plan: &DownloadPlan) -> Text {
    let DownloadPlan {
        id,
        endpoint,
        folder,
        bytes_done,
        files,
        ..
    } = plan;
    msg!(
        "download-plan",
        id = id.to_string(),
        bytes = size(plan.bytes()),
        count = files.len(),
        done = (*bytes_done > 0).then(|| size(*bytes_done)),
        license = license_text(plan.license.as_deref(), id.is_known()),
        endpoint = escape(endpoint, Context::Line),
        folder,
    )
}

/// Returns a status line for a download without a terminal. `rate` is in bytes per second.
pub(crate) fn download_status(done: u64, total: u64, rate: u64) -> Text {
    let percent = done.saturating_mul(100) / total.max(1);
    let left = total.saturating_sub(done).checked_div(rate).map(clock);
    let [done, total, rate] = [done, total, rate].map(size);
    match left {
        Some(left) => msg!("download-status", percent, done, total, rate, left),
        None => msg!("download-stalled", percent, done, total),
    }
}

/// Returns why a request is repeated.
pub(crate) fn retrying(file: &Fetched, fault: &Fault, wait: Duration) -> Text {
    msg!(
        "download-retrying",
        file,
        fault,
        seconds = wait.as_secs_f64()
    )
}

/// Returns the hub's name of the licence, escaped and shortened for one line.
fn license_text(license: Option<&str>, is_known: bool) -> String {
    let license = license
        .or(is_known.then_some("agpl-3.0"))
        .unwrap_or("?")
        .to_uppercase();
    escape(&license, Context::Line)
        .chars()
        .take(LONGEST_LICENSE)
        .collect()
}

/// Formats seconds as `1:02:03` or `2:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_one_short_line_without_control_characters() {
        assert_eq!(license_text(None, true), "AGPL-3.0");
        let hostile = "mit\x1b[2J\nerror: \u{9b}\u{202e}";
        assert_eq!(
            license_text(Some(hostile), true),
            "MIT\\u{1b}[2J\\nERROR: \\u{9b}\\u{202e}"
        );
        assert_eq!(
            license_text(Some(&"x".repeat(5000)), false).len(),
            LONGEST_LICENSE
        );
    }

    #[test]
    fn a_status_has_percent_rate_and_time_left_and_a_stalled_one_has_neither_rate_nor_time() {
        let status = |rate| download_status(1_000_000, 4_000_000, rate).to_string();
        assert_eq!(
            status(1000),
            "25%, 1.00 MB / 4.00 MB, 1.00 kB/s, 50:00 left"
        );
        assert_eq!(
            status(100),
            "25%, 1.00 MB / 4.00 MB, 0.10 kB/s, 8:20:00 left"
        );
        assert_eq!(status(0), "25%, 1.00 MB / 4.00 MB, stalled");
    }
}
