// The messages of pages and server. The server validates every message with these schemas.
import { protocol } from 'koaws'
import { z } from 'zod'

const text = z
  .string()
  .trim()
  .min(1, 'A message has 1 to 500 characters.')
  .max(500, 'A message has 1 to 500 characters.')

/** Created by the page. A message that is sent again after a lost connection keeps its id. */
const messageId = z.string().min(1).max(40)

const time = z.int() // epoch milliseconds
const person = z.object({ id: z.string(), name: z.string() })

export const chatProtocol = protocol({
  // From a page.
  say: {
    data: z.object({ id: messageId, text, to: z.string().max(100).optional() }), // to: the id of a user, for a private message
    reply: z.object({ id: messageId, time }),
  },
  typing: {},
  ask: {
    data: z.object({ question: text, begun: z.string().max(4_000).optional() }), // begun: what the page has of the answer
    stream: z.string(), // the words, one by one
  },

  // From the server.
  you: { push: person.extend({ instance: z.string().optional() }) }, // instance: the name of this instance
  members: { push: z.array(person) }, // of the room of the page
  rooms: { push: z.array(z.object({ name: z.string(), people: z.int() })) },
  said: {
    push: z.object({ id: messageId, from: person, text: z.string(), time, to: person.optional() }),
  },
  isTyping: { push: person },
})
