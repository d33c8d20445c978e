//! `GET /openapi.json`, and `GET /docs`, the same as an HTML page.

use std::{fmt::Write, sync::LazyLock};

use axum::{http::header, response::IntoResponse};
use serde_json::Value;

use super::page;

const DESCRIPTION: &str = include_str!("../../docs/openapi.json");

pub(crate) async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)
}

pub(crate) async fn page() -> impl IntoResponse {
    static PAGE: LazyLock<String> =
        LazyLock::new(|| render(&serde_json::from_str(DESCRIPTION).unwrap_or_default()));
    page::with_policy("text/html; charset=utf-8".into(), PAGE.as_str())
}

fn render(description: &Value) -> String {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let info = &description["info"];
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<main>\n<h1>{0}</h1>\n<p>{1}</p>\n\
         <p>For programs: <a href=\"/openapi.json\">openapi.json</a></p>\n",
        text(&info["title"]),
        text(&info["description"]),
    );
    for (path, methods) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let _ = write!(
                html,
                "<h2><code>{} {}</code></h2>\n<p>{}</p>\n",
                method.to_uppercase(),
                escape(path),
                text(&operation["summary"])
            );
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            html.push_str(&fields(description, resolve(description, schema)));
            html.push_str("<ul>\n");
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let response = resolve(description, response);
                let _ = writeln!(
                    html,
                    "<li><code>{}</code> {}",
                    escape(status),
                    text(&response["description"])
                );
            }
            html.push_str("</ul>\n");
        }
    }
    html.push_str("</main>\n</html>\n");
    html
}

/// Returns a table of an object's properties, or an empty text for other types.
fn fields(description: &Value, schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else {
        return String::new();
    };
    let mut html = "<table>\n<tr><th>field<th>form<th>meaning\n".to_owned();
    for (name, property) in properties {
        let meaning = escape(property["description"].as_str().unwrap_or_default());
        let mut form = resolve(description, property).clone();
        if let Some(form) = form.as_object_mut() {
            form.remove("description");
        }
        let form = escape(&form.to_string());
        let _ = writeln!(
            html,
            "<tr><td><code>{}</code><td><code>{form}</code><td>{meaning}",
            escape(name)
        );
    }
    html.push_str("</table>\n");
    html
}

/// Returns the target of a `$ref`.
fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'));
    pointer
        .and_then(|pointer| description.pointer(pointer))
        .unwrap_or(value)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
