"""Questions for the demo model and its expected answers. `dialogue.mjs` has them for JavaScript."""

GREETING = "你好"
GREETING_REPLY = "你好！我是 moss-rs 的小型演示模型。请问我一些简单的问题，或者输入 /help。"
FILMS = "推荐五部科幻电影"
STOP = "3."
SUM = "What is 3 + 4?"
SUM_REPLY = "3 + 4 = 7."
SYSTEM = "You answer sums."
# One message with more than the 2048 tokens of the context window.
TOO_LONG = "你好，" * 2000
# Bans `<eom>`, which ends an answer, so that the answer is long enough to be cancelled.
ENDLESS = {"logit_bias": {"2740": -100}, "max_tokens": 1500}


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}
