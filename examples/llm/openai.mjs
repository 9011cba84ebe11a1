// The tokens of a real model: a server with the API of OpenAI, such as llama.cpp, vLLM or Ollama.

/** Yields the tokens of an answer, as `generate()` of model.mjs does. */
export async function* generate(prompt, { begun = '', signal } = {}) {
  const { MODEL_URL, MODEL_NAME = 'default', MODEL_KEY } = process.env
  const messages = [{ role: 'user', content: prompt }]
  // Many models go on with an answer that has begun. Yours may need an option for it, or cannot do so.
  if (begun) messages.push({ role: 'assistant', content: begun })
  const response = await fetch(`${MODEL_URL}/chat/completions`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(MODEL_KEY && { Authorization: `Bearer ${MODEL_KEY}` }),
    },
    body: JSON.stringify({ model: MODEL_NAME, messages, stream: true }),
    signal, // the client cancels: the model stops
  })
  if (!response.ok) throw new Error(`The model answered ${response.status}.`)
  for await (const line of linesOf(response.body.pipeThrough(new TextDecoderStream()))) {
    if (!line.startsWith('data: {')) continue // an empty line, or data: [DONE]
    const token = JSON.parse(line.slice(6)).choices[0]?.delta?.content
    if (token) yield token
  }
}

async function* linesOf(texts) {
  let rest = ''
  for await (const text of texts) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    yield* lines
  }
}
