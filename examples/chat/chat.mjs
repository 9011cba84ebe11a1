// What the server does with the messages of the pages.
import { messages } from 'koaws'
import { chatProtocol } from './chat.protocol.mjs'
import { findPerson } from './rooms.mjs'
import { createWhoIsThere } from './who-is-there.mjs'

/**
 * The handlers of a chat whose connections are in the room of their page already. `instance` is shown to
 * those who are connected to this one.
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
      if (to) await sayTo(to, said, message)
      else chat.room(hub, message.connection.state.room).push('said', said)
      return { id, time: said.time }
    })
    .on('typing', ({ connection }) => {
      // Not to whom it would reach late: it is worth nothing then.
      connection.to(connection.state.room).volatile().push('isTyping', personOf(connection))
    })

  /** To all tabs of both, whatever room they show; each once, also where both are the same. */
  async function sayTo(id, said, message) {
    const to = await findPerson(hub, id)
    if (!to) message.throw(404, 'This person is not here any more.', { code: 'gone' })
    chat.audience(hub.user(said.from.id, id)).push('said', { ...said, to })
  }

  return chat
}

function personOf({ userId, state }) {
  return { id: userId, name: state.user.name }
}
