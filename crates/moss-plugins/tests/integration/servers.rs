//! Search and pictures with servers as they should be.

use moss_plugins::{
    AddressFault, Endpoint, ImageType, PluginError, SearXng, Search, SearchBackend, Text2Image,
};

use crate::support::{Server, call, error, respond};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\npixels";
/// [`PNG`] as base64.
const PNG_BASE64: &str = "iVBORw0KGgpwaXhlbHM=";

fn search(server: &Server) -> Search {
    Search::new(SearchBackend::SearXng(SearXng::new(server.endpoint())))
}

#[test]
fn a_search_has_the_first_three_results_with_their_addresses() {
    let body = r#"{"query": "tea", "results": [
        {"url": "https://a.example/", "title": "A", "content": "Tea grows\non hills."},
        {"url": "https://b.example/", "title": "Only a title", "content": ""},
        {"title": null, "content": null},
        {"title": "茶", "content": "茶树", "score": 0.5},
        {"title": "D", "content": "the fourth"}]}"#;
    let server = Server::fixed("200 OK", "", body);
    let results = call(search(&server), "春茶 & 100%");
    assert_eq!(
        results.text,
        "Search(\"春茶 & 100%\") =>\n<|1|>: 'Tea grows on hills.'\n<|2|>: 'Only a title'\n<|3|>: '茶树'"
    );
    let source = &results.sources[0];
    assert_eq!(
        (source.number, source.passage.url.as_str()),
        (1, "https://a.example/")
    );
    assert_eq!(source.passage.title, "A");
    let head = server.request().head;
    assert!(
        head.starts_with("GET /search?q=%E6%98%A5%E8%8C%B6+%26+100%25&format=json "),
        "{head}"
    );
}

#[test]
fn a_server_without_json_is_reported_with_the_setting_that_enables_it() {
    let server = Server::fixed("403 Forbidden", "", "");
    let results = call(search(&server), "tea");
    let error = error(&results);
    let hint = error.hint().unwrap();
    assert!(hint.contains("search.formats"), "{hint}");
    assert!(error.to_string().contains("403"), "{error}");
    assert!(!error.to_string().contains("tea"), "{error}"); // the query is private
}

#[test]
fn a_search_without_results_has_none() {
    let server = Server::fixed("200 OK", "", r#"{"results": []}"#);
    assert!(matches!(
        error(&call(search(&server), "tea")),
        PluginError::Nothing
    ));
}

#[test]
fn the_path_of_an_address_is_kept() {
    let server = Server::fixed("200 OK", "", r#"{"results": [{"content": "a"}]}"#);
    let address = format!("http://127.0.0.1:{}/searx?x=1#y", server.port);
    let endpoint = Endpoint::new(&address).unwrap();
    call(
        Search::new(SearchBackend::SearXng(SearXng::new(endpoint))),
        "tea",
    );
    assert!(
        server
            .request()
            .head
            .starts_with("GET /searx/search?q=tea&format=json ")
    );
}

#[test]
fn a_picture_is_read_from_base64_and_its_key_is_sent() {
    let server = Server::fixed(
        "200 OK",
        "",
        format!(r#"{{"data": [{{"b64_json": "{PNG_BASE64}"}}]}}"#),
    );
    let endpoint = server.endpoint().with_key(Some("secret".into()));
    let plugin = Text2Image::new(endpoint)
        .with_model(Some("painter".into()))
        .with_size(Some("64x64".into()));
    let results = call(plugin, "a red boat");
    assert_eq!(results.text, "Image generated successfully.");
    let image = results.images().next().unwrap();
    assert_eq!((image.kind, image.bytes.as_slice()), (ImageType::Png, PNG));
    assert_eq!(image.description, "a red boat");
    let request = server.request();
    assert!(
        request.head.starts_with("POST /images/generations "),
        "{}",
        request.head
    );
    assert!(
        request
            .head
            .to_lowercase()
            .contains("authorization: bearer secret")
    );
    let body = r#"{"model":"painter","n":1,"prompt":"a red boat","size":"64x64"}"#;
    assert_eq!(request.body, body);
}

#[test]
fn a_picture_is_fetched_from_its_address_on_the_same_server() {
    let server = Server::start(|request, stream| match request.head.starts_with("POST") {
        true => respond(
            stream,
            "200 OK",
            "",
            br#"{"data": [{"url": "/files/1.png"}]}"#,
        ),
        false => respond(stream, "200 OK", "", PNG),
    });
    let results = call(Text2Image::new(server.endpoint()), "a red boat");
    assert_eq!(results.images().next().unwrap().bytes, PNG);
}

#[test]
fn addresses_of_other_schemes_and_with_passwords_are_rejected() {
    let fault = |address: &str| match Endpoint::new(address).unwrap_err() {
        PluginError::Address { address, reason } => {
            assert!(!address.contains("secret"), "{address}");
            reason
        }
        error => panic!("{error}"),
    };
    assert_eq!(fault("localhost"), AddressFault::Malformed);
    assert_eq!(
        fault("localhost:8888"),
        AddressFault::Scheme("localhost".into())
    );
    assert_eq!(
        fault("file:///etc/passwd"),
        AddressFault::Scheme("file".into())
    );
    assert_eq!(fault("http://user:secret@host"), AddressFault::Credentials);
}
