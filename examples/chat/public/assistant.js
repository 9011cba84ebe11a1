// The assistant: its answer grows in the log, can be stopped, and goes on after a lost connection.
import { reasonOf } from './reasons.js'

export const ASSISTANT = { id: 'assistant', name: 'Assistant' }

/** Returns the function that asks the assistant. */
export function createAssistant(client, log, toasts) {
  return async function ask(id, question) {
    const stop = new AbortController()
    const answer = log.growing({ id, from: ASSISTANT, onStop: () => stop.abort() })
    try {
      await listen(question, answer, stop.signal)
      answer.end()
    } catch (error) {
      answer.end(stop.signal.aborted ? 'Stopped' : 'Ended early')
      if (!stop.signal.aborted) toasts.show(`No further answer: ${reasonOf(error)}`)
    }
  }

  /** Adds the words to the answer. When the server has lost the stream, it asks for the rest. */
  async function listen(question, answer, signal) {
    const data = { question, begun: answer.text || undefined }
    try {
      for await (const words of client.stream('ask', data, { resume: true, signal })) {
        answer.add(words)
      }
    } catch (error) {
      if (error.code !== 'ERR_KOAWS_STREAM_LOST') throw error
      await listen(question, answer, signal)
    }
  }
}
