//! Programs of the user.

use std::{
    thread,
    time::{Duration, Instant},
};

use moss_plugins::{
    CallContext, Cancellation, CommandPlugin, Plugin, PluginError, Plugins, Program, ProgramFault,
    Search, SearchBackend,
};

fn run(command: &str) -> Result<Vec<String>, PluginError> {
    let context = CallContext::new(Duration::from_secs(60), Cancellation::default());
    Program::new(command).run("tea", &context)
}

fn text(plugin: impl Plugin + 'static, commands: &str) -> String {
    let plugins = Plugins::default().with(plugin);
    plugins.run(commands, &Cancellation::default()).text
}

#[test]
fn a_search_program_reads_the_query_and_writes_results() {
    let program =
        Program::new("read query; printf '%s one\\n\\ntwo\\thttps://a.example/\\tA\\n' \"$query\"");
    let search = Search::new(SearchBackend::Program(program));
    let results = Plugins::default()
        .with(search)
        .run("Search(\"tea; exit\")", &Cancellation::default());
    assert_eq!(
        results.text,
        "Search(\"tea; exit\") =>\n<|1|>: 'tea; exit one'\n<|2|>: 'two'"
    );
    assert_eq!(results.sources[1].passage.url, "https://a.example/");
    assert_eq!(results.sources[1].passage.title, "A");
}

#[test]
fn a_plugin_of_the_user_has_the_lines_of_its_program() {
    let plugin = CommandPlugin::new("Upper", Program::new("tr a-z A-Z"));
    assert_eq!(text(plugin, "Upper(\"tea\")"), "Upper(\"tea\") =>\nTEA");
}

#[test]
fn text_of_the_model_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("made");
    let plugin = CommandPlugin::new("Count", Program::new("wc -l"));
    let argument = format!("$(touch {0}); touch {0}; `touch {0}`", file.display());
    let shown = text(plugin, &format!("Count('{argument}')"));
    assert!(shown.trim().ends_with('1'), "{shown}");
    assert!(!file.exists());
}

#[test]
fn a_program_that_fails_has_no_result_and_its_message_is_reported() {
    let error = run("echo one; echo problem >&2; exit 3").unwrap_err();
    let PluginError::Program {
        reason: ProgramFault::Status { status, message },
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((status, message.as_str()), (Some(3), "problem"));
    let plugin = CommandPlugin::new("Fail", Program::new("exit 1"));
    assert_eq!(text(plugin, "Fail(\"a\")"), "Fail(\"a\") =>\nNo result.");
    let plugin = CommandPlugin::new("Silent", Program::new("true"));
    assert_eq!(
        text(plugin, "Silent(\"a\")"),
        "Silent(\"a\") =>\nNo result."
    );
}

#[test]
fn the_output_of_a_program_is_limited() {
    let lines = run("yes").unwrap();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    assert!((60_000..70_000).contains(&bytes), "{bytes}");
    assert!(run("head -c 1000000 /dev/zero").is_ok());
}

#[test]
fn a_program_that_ignores_its_input_does_not_block() {
    let context = CallContext::new(Duration::from_secs(60), Cancellation::default());
    let lines = Program::new("echo done")
        .run(&"x".repeat(1 << 20), &context)
        .unwrap();
    assert_eq!(lines, ["done"]);
}

#[test]
fn a_program_that_is_out_of_time_is_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alive");
    let command = format!("(sleep 3; touch '{}') & sleep 60", file.display());
    let context = CallContext::new(Duration::from_millis(200), Cancellation::default());
    let start = Instant::now();
    let error = Program::new(command).run("", &context).unwrap_err();
    assert!(
        matches!(
            error,
            PluginError::Program {
                reason: ProgramFault::TimedOut,
                ..
            }
        ),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    thread::sleep(Duration::from_secs(4));
    assert!(!file.exists());
}

#[test]
fn a_program_in_the_background_does_not_delay_the_result() {
    let start = Instant::now();
    assert_eq!(run("sleep 60 & echo tea").unwrap(), ["tea"]);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_cancelled_program_is_ended() {
    let cancellation = Cancellation::default();
    let context = CallContext::new(Duration::from_secs(60), cancellation.clone());
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        cancellation.cancel();
    });
    let error = Program::new("sleep 60").run("", &context).unwrap_err();
    assert!(matches!(error, PluginError::Cancelled), "{error}");
}
