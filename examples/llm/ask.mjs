// Prints the answer to a prompt. Ctrl-C stops it: `node ask.mjs What is a stream?`
import { connect } from 'koaws/client'
import { WebSocket } from 'ws'

const prompt = process.argv.slice(2).join(' ') || 'What is a stream?'
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

const url = `ws://127.0.0.1:${process.env.PORT || 3000}/socket`
const client = connect(url, { WebSocket })
try {
  const { tokens } = await ask()
  console.log(`\n${tokens} tokens`)
} catch (error) {
  console.log(stop.signal.aborted ? '\nstopped' : `\n${error.message}`)
  if (!stop.signal.aborted) process.exitCode = 1
}
client.close()

/** Prints the tokens. When the server has lost the stream, it asks for the rest. */
async function ask(begun = '') {
  const stream = client.stream('ask', { prompt, begun }, { resume: true, signal: stop.signal })
  try {
    for await (const { token } of stream) {
      begun += token
      process.stdout.write(token)
    }
    return await stream.reply
  } catch (error) {
    if (error.code !== 'ERR_KOAWS_STREAM_LOST') throw error
    return ask(begun)
  }
}
