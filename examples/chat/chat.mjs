// The message handlers of the server.
import { messages } from 'koaws'
import { generate } from '../llm/model.mjs'
import { chatProtocol } from './chat.protocol.mjs'
import { findPerson, logOf } from './rooms.mjs'
import { createWhoIsThere } from './who-is-there.mjs'

/**
 * Creates the message handlers. Connections must be in the rooms of their page already. The pages of this
 * instance show `instance`.
 */
export function makeChat(hub, { instance } = {}) {
  const chat = messages(chatProtocol, { maxMessage: 8 * 1024 })
  const tellWhoIsThere = createWhoIsThere(hub, chat)

  chat
    .onOpen((connection, ctx) => {
      connection.state.room = ctx.params.room
      connection.push('you', { ...personOf(connection), instance })
      tellWhoIsThere(connection.state.room)
    })
    .onClose((connection) => tellWhoIsThere(connection.state.room))
    .on('say', async (message) => {
      const { id, text, to } = message.data
      const from = personOf(message.connection)
      const said = { id, from, text, time: Date.now() }
      const { recorded } = to ? await sayTo(to, said, message) : sayToRoom(said, message)
      // The page shows "Sending …" until then. Without history it is 'none' at once.
      if ((await recorded) === 'failed') message.throw(503, 'The server could not store it.')
      return { id, time: said.time }
    })
    .on('typing', ({ connection }) => {
      // Volatile, because a late typing indicator is useless.
      connection.to(connection.state.room).volatile().push('isTyping', personOf(connection))
    })
    // The assistant. A page that was away goes on with the same answer, if it is back within a minute.
    .on('ask', ({ data: { question, begun }, signal }) => generate(question, { begun, signal }), {
      resume: true,
    })

  /** Sends to all other pages of the room. The page of the sender gets the reply. */
  function sayToRoom(said, { connection }) {
    return chat.audience(connection.to(logOf(connection.state.room))).push('said', said)
  }

  /** Sends to all other tabs of both users, in any room; once per tab, even if both are the same user. */
  async function sayTo(id, said, message) {
    const to = await findPerson(hub, id)
    if (!to) message.throw(404, 'This person is not here any more.', { code: 'gone' })
    const tabs = hub.user(said.from.id, id).except(message.connection)
    return chat.audience(tabs).push('said', { ...said, to })
  }

  return chat
}

function personOf({ userId, state }) {
  return { id: userId, name: state.user.name }
}
