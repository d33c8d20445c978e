//! `POST /tokenize` and `POST /detokenize`.

use axum::{Json, extract::State};

use crate::{
    ServedModel,
    body::JsonBody,
    error::ApiError,
    plan::{at_most, check_model},
    reason::Reason,
    routes::chat,
    state::Shared,
    wire::tokens::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokenized},
};

pub(crate) async fn tokenize(
    State(state): State<Shared>,
    JsonBody(request, _): JsonBody<TokenizeRequest>,
) -> Result<Json<Tokenized>, ApiError> {
    let model = state.model()?.clone();
    check_model(request.model.as_deref(), &state.options)?;
    let most = state.options.limits.messages;
    if let Some(messages) = &request.messages {
        at_most("messages", messages.len(), 1, most, "messages")?;
    }
    // Tokenization of a long text would block other streams on this thread.
    let encoded = tokio::task::spawn_blocking(move || encode(&model, request));
    let tokenized = encoded.await.map_err(|_| ApiError::Internal)??;
    Ok(Json(tokenized))
}

fn encode(model: &ServedModel, request: TokenizeRequest) -> Result<Tokenized, ApiError> {
    let tokens = match (request.prompt, request.messages) {
        (Some(text), None) => model.tokenizer.encode(&text)?,
        (None, Some(messages)) => {
            if request.add_generation_prompt == Some(false) {
                let reason = Reason::Value {
                    found: "false".to_owned(),
                    expected: "true".to_owned(),
                };
                return Err(ApiError::unsupported("add_generation_prompt", reason));
            }
            chat::prompt_ids(model, messages)?
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::unsupported("messages", Reason::WithPrompt));
        }
        (None, None) => {
            return Err(ApiError::Json {
                param: Some("prompt".to_owned()),
                reason: "missing field `prompt` or `messages`".to_owned(),
            });
        }
    };
    let text = |id: &u32| String::from_utf8_lossy(model.tokenizer.token_bytes(*id)).into_owned();
    let token_strs = request.return_token_strs.unwrap_or(false);
    Ok(Tokenized {
        count: tokens.len(),
        max_model_len: model.engine.context_length(),
        token_strs: token_strs.then(|| tokens.iter().map(text).collect()),
        tokens,
    })
}

pub(crate) async fn detokenize(
    State(state): State<Shared>,
    JsonBody(request, _): JsonBody<DetokenizeRequest>,
) -> Result<Json<Detokenized>, ApiError> {
    let tokenizer = &state.model()?.tokenizer;
    check_model(request.model.as_deref(), &state.options)?;
    tokenizer.check_ids(&request.tokens)?;
    let bytes = request.tokens.iter().map(|id| tokenizer.token_bytes(*id));
    let bytes: Vec<u8> = bytes.flatten().copied().collect();
    let prompt = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Json(Detokenized { prompt }))
}
