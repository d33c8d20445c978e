//! The shapes of the results that the published models were trained on, with other words and
//! numbers.

use moss_plugins::{
    Calculate, CallContext, Cancellation, Citations, Image, ImageType, Output, Passage, Plugin,
    PluginError, Plugins, ResultKind, Solve,
};

/// A plugin with a fixed result.
#[derive(Debug)]
struct Fixed(&'static str, ResultKind, Output);

impl Plugin for Fixed {
    fn name(&self) -> &str {
        self.0
    }

    fn kind(&self) -> ResultKind {
        self.1
    }

    fn call(&self, _: &str, _: &CallContext) -> Result<Output, PluginError> {
        Ok(self.2.clone())
    }
}

/// The plugins of the published models, with canned passages and a canned picture.
fn plugins() -> Plugins {
    let passage = |text: &str| Passage {
        text: text.to_owned(),
        ..Passage::default()
    };
    let passages = ["茶山的春天", "A hill of tea", "第三条"]
        .map(passage)
        .to_vec();
    let image = Image {
        description: String::new(),
        kind: ImageType::Png,
        bytes: Vec::new(),
    };
    Plugins::default()
        .with(Fixed(
            "Search",
            ResultKind::Passages,
            Output::Passages(passages),
        ))
        .with(Calculate)
        .with(Solve)
        .with(Fixed("Text2Image", ResultKind::Image, Output::Image(image)))
}

fn run(commands: &str) -> String {
    plugins().run(commands, &Cancellation::default()).text
}

fn calculate(expression: &str) -> String {
    let text = run(&format!("Calculate(\"{expression}\")"));
    let value = text
        .strip_prefix(&format!("Calculate(\"{expression}\") => "))
        .unwrap();
    value.to_owned()
}

fn solve(equations: &str) -> String {
    let text = run(&format!("Solve(\"{equations}\")"));
    let lines = text
        .strip_prefix(&format!("Solve(\"{equations}\") =>\n"))
        .unwrap();
    lines.to_owned()
}

#[test]
fn shape_1_no_command_has_the_result_none() {
    assert_eq!(run("None"), "None");
    assert_eq!(run(" None (the greeting needs no tool)\n"), "None");
}

#[test]
fn shape_2_a_quotient_is_a_quoted_double_after_the_call() {
    assert_eq!(run("Calculate(\"84/7\")"), "Calculate(\"84/7\") => '12.0'");
}

#[test]
fn shape_3_integers_stay_integers() {
    assert_eq!(calculate("1250+640+910"), "'2800'");
    assert_eq!(calculate("0^12"), "'0'");
}

#[test]
fn shape_4_doubles_have_their_shortest_form() {
    assert_eq!(calculate("300*(1-0.45)"), "'165.0'");
    assert_eq!(calculate("0.1+0.2"), "'0.30000000000000004'");
    assert_eq!(calculate("1100*1.1"), "'1210.0'");
    assert_eq!(calculate("700*(1-0.4)*1.1"), "'462.00000000000006'");
}

#[test]
fn shape_5_both_powers_pi_and_roots_are_known() {
    assert_eq!(calculate("sqrt(150)"), "'12.24744871391589'");
    assert_eq!(calculate("pi*2^2*15"), "'188.49555921538757'");
    assert_eq!(calculate("27^(1/3)"), "'3.0'");
    assert_eq!(calculate("2**5"), "'32'");
    assert_eq!(calculate("sin(pi/2)"), "'1.0'");
}

#[test]
fn shape_6_the_last_statement_has_the_value() {
    let heron = "p=(9+10+17)/2;sqrt(p*(p-9)*(p-10)*(p-17))";
    assert_eq!(calculate(heron), "'36.0'");
    assert_eq!(calculate("a=100//7; a"), "'14'");
}

#[test]
fn shape_7_expressions_without_a_value_have_no_result_in_quotes() {
    for expression in [
        "6!", "3*x=18", "3*x", "(4+5", "4+5)", "6/(2-2)", "1,300+5", "20%",
    ] {
        assert_eq!(calculate(expression), "'No result.'", "{expression}");
    }
}

#[test]
fn shape_8_each_call_has_a_line_in_order() {
    assert_eq!(
        run("Calculate(\"11*sqrt(4)\"), Calculate(\"11*5\")"),
        "Calculate(\"11*sqrt(4)\") => '22.0'\nCalculate(\"11*5\") => '55'"
    );
}

#[test]
fn shape_9_numbers_and_comments_of_lines_are_left_out() {
    let commands = "1. Calculate(\"5*5\") # the area\n2. Calculate(\"4*5\") # the outline of it\n";
    assert_eq!(
        run(commands),
        "Calculate(\"5*5\") => '25'\nCalculate(\"4*5\") => '20'"
    );
}

#[test]
fn shape_10_a_call_without_a_literal_is_left_out() {
    assert_eq!(
        run("Calculate(\"5*5\"), Calculate(25*2)"),
        "Calculate(\"5*5\") => '25'"
    );
    assert_eq!(run("Calculate(total)"), "None");
}

#[test]
fn shape_11_solutions_are_on_lines_without_quotes() {
    assert_eq!(run("Solve(\"5x+8=93\")"), "Solve(\"5x+8=93\") =>\nx = 17");
}

#[test]
fn shape_12_solutions_are_exact_fractions() {
    assert_eq!(solve("x/3=(80-x)/4"), "x = 240/7");
    assert_eq!(solve("x+y=9;x-z=2;y-z=4"), "x = 7/2\ny = 11/2\nz = 3/2");
}

#[test]
fn shape_13_decimals_have_15_digits() {
    assert_eq!(solve("0.25x=150"), "x = 600.000000000000");
    assert_eq!(solve("2.5x+20=9.25"), "x = -4.30000000000000");
}

#[test]
fn shape_14_several_roots_are_numbered_in_ascending_order() {
    assert_eq!(solve("(x+2)^2=49"), "x_0 = -9\nx_1 = 5");
}

#[test]
fn shape_15_complex_roots_are_decimals_or_exact() {
    assert_eq!(
        solve("r^3=50.0"),
        "r_0 = 3.68403149864039\nr_1 = -1.84201574932019 - 3.19046486616463*I\n\
         r_2 = -1.84201574932019 + 3.19046486616463*I"
    );
    assert_eq!(
        solve("x^3=27"),
        "x_0 = 3\nx_1 = -3/2 - 3*sqrt(3)*I/2\nx_2 = -3/2 + 3*sqrt(3)*I/2"
    );
}

#[test]
fn shape_16_commas_trailing_separators_and_a_trailing_unknown_are_accepted() {
    assert_eq!(solve("x+y=12,x-y=5"), "x = 17/2\ny = 7/2");
    assert_eq!(solve("6x=90;"), "x = 15");
    assert_eq!(solve("6x=90;x"), "x = 15");
}

#[test]
fn shape_17_equations_without_a_solution_have_no_result_on_a_line() {
    assert_eq!(
        run("Solve(\"x+y=5\", \"x-y=1\")"),
        "Solve(\"x+y=5\", \"x-y=1\") =>\nNo result."
    );
    for equations in ["x+y=7", "price*3=18", "cos(x)=0", "x=x", "x=1;x=2", "3=4"] {
        assert_eq!(solve(equations), "No result.", "{equations}");
    }
}

#[test]
fn shape_18_a_picture_has_one_line_without_its_call() {
    let text = run("Text2Image(\"a cat reading a map\")");
    assert_eq!(text, "Image generated successfully.");
}

#[test]
fn shape_19_passages_are_numbered() {
    assert_eq!(
        run("Search(\"春茶 产地\")"),
        "Search(\"春茶 产地\") =>\n<|1|>: '茶山的春天'\n<|2|>: 'A hill of tea'\n<|3|>: '第三条'"
    );
}

#[test]
fn shape_20_a_second_search_counts_on_and_kinds_have_an_order() {
    let text = run("Calculate(\"2*4\"), Search(\"a\"), Search(\"b\")");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Search(\"a\") =>");
    assert_eq!(lines[4], "Search(\"b\") =>");
    assert_eq!(lines[5], "<|4|>: '茶山的春天'");
    assert_eq!(lines[8], "Calculate(\"2*4\") => '8'");
    assert_eq!(lines.len(), 9);
}

#[test]
fn shape_21_unknown_commands_have_no_result() {
    assert_eq!(
        run("Translate(\"tea\"), Calculate(\"3*4\")"),
        "Calculate(\"3*4\") => '12'"
    );
    assert_eq!(run("Translate(\"tea\")"), "None");
}

#[test]
fn shape_22_citations_are_tags_of_one_source_each() {
    let mut citations = Citations::default();
    let answer = "Tea grows on hills<sup><|2|></sup><sup><|1|></sup>.";
    assert_eq!(citations.push(answer), "Tea grows on hills[2][1].");
    assert_eq!(citations.numbers(), [2, 1]);
}
