// What the server does with the messages of the pages.
import { messages } from 'koaws'
import { chatProtocol } from './chat.protocol.mjs'
import { findPerson, peopleIn, ROOMS } from './rooms.mjs'

/** The handlers of a chat whose connections are in the room of their page already. */
export function makeChat(hub) {
  const chat = messages(chatProtocol, { maxMessage: 8 * 1024 })

  chat
    .onOpen((connection, ctx) => {
      connection.state.room = ctx.params.room
      connection.push('you', personOf(connection))
      tellWhoIsThere(connection.state.room)
    })
    .onClose((connection) => tellWhoIsThere(connection.state.room))
    .on('say', (message) => {
      const { id, text, to } = message.data
      const from = personOf(message.connection)
      const said = { id, from, text, time: Date.now() }
      if (to) sayTo(to, said, message)
      else chat.room(hub, message.connection.state.room).push('said', said)
      return { id, time: said.time }
    })
    .on('typing', ({ connection }) => {
      // Not to whom it would reach late: it is worth nothing then.
      connection.to(connection.state.room).volatile().push('isTyping', personOf(connection))
    })

  /** To all tabs of both, whatever room they show; each once, also where both are the same. */
  function sayTo(id, said, message) {
    const to = findPerson(hub, id)
    if (!to) message.throw(404, 'This person is not here any more.', { code: 'gone' })
    chat.audience(hub.user(said.from.id, id)).push('said', { ...said, to })
  }

  /** To the room who is in it; to everybody how many there are in each room. */
  function tellWhoIsThere(room) {
    chat.room(hub, room).push('members', peopleIn(hub, room))
    const rooms = ROOMS.map((name) => ({ name, people: peopleIn(hub, name).length }))
    chat.audience(hub.all()).push('rooms', rooms)
  }

  return chat
}

function personOf({ userId, state }) {
  return { id: userId, name: state.user.name }
}
