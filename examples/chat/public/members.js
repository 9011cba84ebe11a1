// The users in the room, and the notices about joining and leaving.
import { element } from './dom.js'
import { avatar } from './people.js'

/** A shorter absence, in milliseconds, is a reload of the page and not shown as leaving. */
const BLINK = 2_000

/** How long others may take to return after this page has reconnected, in milliseconds. */
const RETURN = 30_000

export function createMembers(list, { isMe, onNotice, onChange }) {
  const members = new Map() // by id: { person, leaving }
  let returnedAt = 0
  let isNew = true // the next list is the first of a connection

  /** Applies the list of users from the server. */
  function update(present) {
    const isFirst = members.size === 0
    if (isNew && !isFirst) returnedAt = Date.now()
    isNew = false
    for (const person of present) arrive(person, isFirst)
    const ids = new Set(present.map(({ id }) => id))
    for (const member of members.values()) if (!ids.has(member.person.id)) miss(member)
    show()
  }

  function arrive(person, isFirst) {
    const known = members.get(person.id)
    clearTimeout(known?.leaving)
    members.set(person.id, { person })
    if (!known && !isFirst) onNotice(`${person.name} joined`)
  }

  function miss(member) {
    if (member.leaving) return
    const patience = Math.max(BLINK, returnedAt + RETURN - Date.now())
    member.leaving = setTimeout(leave, patience, member.person)
  }

  function leave(person) {
    members.delete(person.id)
    onNotice(`${person.name} left`)
    show()
  }

  /** Keeps all users until the next list, because this page is disconnected. */
  function disconnected() {
    isNew = true
    for (const member of members.values()) {
      clearTimeout(member.leaving)
      delete member.leaving
    }
  }

  function show() {
    const all = [...members.values()]
    list.replaceChildren(...all.map(itemOf))
    onChange(all.map(({ person }) => person))
  }

  function itemOf({ person, leaving }) {
    const item = element(
      'li',
      leaving ? 'away' : '',
      avatar(person),
      element('span', '', person.name),
    )
    if (isMe(person)) item.append(element('span', 'hint', '(you)'))
    if (leaving) item.append(element('span', 'hint', '(away)'))
    return item
  }

  return { update, disconnected }
}
