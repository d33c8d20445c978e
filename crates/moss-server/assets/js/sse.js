// Parses server-sent events from a byte stream of fetch. EventSource can neither POST nor send a key.

/**
 * Yields each event's data, and null for a comment (the server's sign of life). Lines may end in LF, CRLF or CR, and a character
 * may arrive in two pieces. An event without its closing empty line was cut off and is not yielded.
 */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield data.join("\n");
          data = [];
        } else if (line.startsWith(":")) yield null;
        else if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
