//! The results of concurrent requests, as text and as JSON.

use moss_bench::{Arrival, Quantiles, concurrency::Served};
use moss_messages::{Language, Text, msg};
use serde_json::{Value, json};

pub(super) fn text(served: &Served, language: Language) -> String {
    let Served {
        clients,
        prompt,
        new,
        first_s,
        token_s,
        ..
    } = served;
    let (rate, clients) = (served.tokens_per_s(), format!("{clients:>4}"));
    let [p50, p90, p99, max] = milliseconds(first_s, 0);
    let mut lines = vec![
        msg!("bench-clients", clients, prompt, new, rate),
        msg!("bench-first-token", p50, p90, p99, max),
    ];
    if let Some(token_s) = token_s {
        let [p50, p90, p99, max] = milliseconds(token_s, 2);
        lines.push(msg!("bench-per-token", p50, p90, p99, max));
    }
    lines.extend(served.arrival.as_ref().map(arrival_text));
    let lines = lines.iter().map(|line| language.text(line));
    lines.map(|line| format!("  {line}\n")).collect()
}

fn arrival_text(arrival: &Arrival) -> Text {
    let [largest, median, first, alone] = [
        arrival.largest_gap_s,
        arrival.median_gap_s,
        arrival.first_token_s,
        arrival.alone_s,
    ]
    .map(|seconds| format!("{:.1}", seconds * 1e3));
    msg!(
        "bench-arrival",
        prompt = arrival.prompt,
        largest,
        gaps = arrival.gap_ratio(),
        median,
        first,
        firsts = arrival.first_token_ratio(),
        alone,
    )
}

/// Formats quantiles in milliseconds, with `digits` decimals.
fn milliseconds(quantiles: &Quantiles, digits: usize) -> [String; 4] {
    let Quantiles { p50, p90, p99, max } = *quantiles;
    [p50, p90, p99, max].map(|seconds| format!("{:.digits$}", seconds * 1e3))
}

pub(super) fn json(served: &Served) -> Value {
    let Served {
        clients,
        prompt,
        new,
        seconds,
        first_s,
        token_s,
        arrival,
    } = served;
    json!({
        "clients": clients, "prompt": prompt, "new": new, "seconds": seconds,
        "tokens_per_s": served.tokens_per_s(),
        "first_token_s": first_s.p50, "first_token_max_s": first_s.max,
        "first_token_quantiles_s": quantiles_json(first_s),
        "token_quantiles_s": token_s.as_ref().map(quantiles_json),
        "arrival": arrival.as_ref().map(arrival_json),
    })
}

fn arrival_json(arrival: &Arrival) -> Value {
    let Arrival {
        prompt,
        median_gap_s,
        largest_gap_s,
        first_token_s,
        alone_s,
    } = arrival;
    json!({
        "prompt": prompt, "median_gap_s": median_gap_s, "largest_gap_s": largest_gap_s,
        "gap_ratio": arrival.gap_ratio(), "first_token_s": first_token_s,
        "first_token_alone_s": alone_s, "first_token_ratio": arrival.first_token_ratio(),
    })
}

fn quantiles_json(quantiles: &Quantiles) -> Value {
    let Quantiles { p50, p90, p99, max } = quantiles;
    json!({ "p50": p50, "p90": p90, "p99": p99, "max": max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Served {
        let quantiles = |p50| Quantiles {
            p50,
            p90: 2.0 * p50,
            p99: 3.0 * p50,
            max: 4.0 * p50,
        };
        Served {
            clients: 64,
            prompt: 128,
            new: 100,
            seconds: 2.0,
            first_s: quantiles(0.5),
            token_s: Some(quantiles(0.0125)),
            arrival: None,
        }
    }

    #[test]
    fn both_latencies_are_listed_with_their_quantiles() {
        let text = text(&served(), Language::En);
        for part in [
            "3200.0 tok/s in total",
            "time to first token 500 ms (median), 1000 (90 %), 1500 (99 %), 2000 (maximum)\n",
            "time per output token 12.50 ms (median), 25.00 (90 %), 37.50 (99 %), 50.00 (maximum)\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_arrival_is_reported_with_both_ratios() {
        let arrival = Arrival {
            prompt: 1900,
            median_gap_s: 0.005,
            largest_gap_s: 0.0125,
            first_token_s: 0.3,
            alone_s: 0.15,
        };
        let served = Served {
            arrival: Some(arrival),
            ..served()
        };
        let text = text(&served, Language::En);
        for part in [
            "12.5 ms (2.50 times",
            "5.0 ms",
            "300.0 ms (2.00 times",
            "150.0 ms",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(json(&served)["arrival"]["gap_ratio"], 2.5);
    }

    #[test]
    fn requests_of_one_token_have_no_time_per_token() {
        let one = Served {
            token_s: None,
            ..served()
        };
        assert_eq!(text(&one, Language::En).lines().count(), 2);
        assert!(json(&one)["token_quantiles_s"].is_null());
        assert_eq!(json(&served())["token_quantiles_s"]["p90"], 0.025);
        assert_eq!(json(&served())["first_token_max_s"], 2.0);
    }
}
